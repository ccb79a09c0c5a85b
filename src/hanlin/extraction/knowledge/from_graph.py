"""Stage `graph-instruct`: make instructions for extraction from a knowledge graph and texts.

hanlin extract instruct --graph triples.tsv --graph aliases.tsv --texts corpus --out instructions
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hanlin.core.config import InputPath
from hanlin.core.files import size_bytes
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.knowledge.rules import Rules, Scope

BYTES_PER_FACT_FILE = 12  # of memory, for each byte of a graph's files: names, arrays, automaton


class Config(StageConfig):
    """What is told of a graph, and how it becomes instructions."""

    graph: list[InputPath] = Field(min_length=1)
    """Files or folders: triples and names as .tsv or .jsonl, RDF, a Wikidata dump, or a store."""

    texts: list[InputPath] = Field(min_length=1)
    """Files or folders with texts in any format that can be read."""

    language: str | None = None
    """Of texts that do not name theirs; without it the script tells zh from en."""

    formats: list[str] = Field(default=["lines"], min_length=1)
    """Forms of the answers; each text is given one of them."""

    templates: int = Field(default=4, ge=1, le=40)
    """Wordings of the instruction to draw from, where a format has several."""

    negatives: int = Field(default=4, ge=0, le=100)
    """Relations, and types of entities, that are asked for although the text has none of them."""

    test_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the entities that are kept for the test: no training text names one of them."""

    empty_share: float = Field(default=0.05, ge=0, le=1)
    """Share of the texts without any fact that are kept, so that finding nothing is learned too."""

    max_characters: int = Field(default=512, ge=16)
    """Longest passage; longer texts are cut between sentences."""

    scope: Scope = "text"
    """How near head and tail must be: in one sentence; in the passage where the head begins it; or
    anywhere in the passage."""

    shortest_name: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (2, 2)
    """Characters of the shortest name that is looked for, in Han and in other scripts."""

    least_share: float = Field(default=0.002, ge=0, le=1)
    """Share of a relation's facts below which a pair of types counts as an error of the graph."""

    inverse: bool = True
    """Tell the inverse of a relation as well, where the graph declares one."""

    workers: int = Field(default=1, ge=1, le=256)
    """Processes that read texts; each holds the graph. The result is the same."""

    engine: Literal["local", "ray"] = "local"
    """Who works: processes of this machine, or a Ray cluster (extra: cluster)."""

    max_bad_rows: float = Field(default=0.01, ge=0, le=1)
    """Largest share of rows of a file that may be unusable."""

    @model_validator(mode="after")
    def _check(self) -> Config:
        for name in self.formats:
            if name not in FORMATS:
                raise ValueError(f"formats: {name!r} is none; known: {', '.join(FORMATS)}")
        return self

    def rules(self) -> Rules:
        """Return what counts as a mention and as a told fact."""
        return Rules(self.shortest_name, self.scope, self.least_share, self.inverse)


def run(config: Config, context: StageContext) -> None:
    """Write train.jsonl, test.jsonl, the examples behind them, the schema, numbers and samples."""
    from hanlin.extraction.knowledge.produce import produce

    produce(config, context)


def estimate(config: Config) -> Estimate:
    """Expect about ten times the graph in memory and three times the texts on disk."""
    files = [Path(path) for path in config.graph if Path(path).exists()]
    texts = [Path(path) for path in config.texts if Path(path).exists()]
    return Estimate(
        disk_bytes=3 * sum(map(size_bytes, texts)) or None,
        memory_bytes=BYTES_PER_FACT_FILE * config.workers * sum(map(size_bytes, files)) or None,
    )


STAGE = Stage(
    summary="make extraction instructions from a knowledge graph and texts",
    config=Config,
    run=run,
    outputs={
        "chat": ("conversations", "train.jsonl"),
        "chat_test": ("conversations", "test.jsonl"),
        "examples": ("extraction-examples", "examples"),
        "statistics": ("statistics", "statistics.json"),
        "samples": ("text", "samples.md"),
        "bad_rows": ("bad-rows", "bad_rows.jsonl"),
    },
    estimate=estimate,
)
