"""What is a benchmark? Items, a way to ask a model, and metrics with intervals and chance levels.

A benchmark is one file below `benchmarks/` with a `BENCHMARK`, and one line in their table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import Field

from hanlin.core.config import InputPath, StrictModel
from hanlin.core.errors import InputError
from hanlin.data.readers.hub import DataPath
from hanlin.evaluation.statistics import Estimate
from hanlin.inference.engine import Engine
from hanlin.prompts.format import PromptFormat

T = TypeVar("T")
ProtocolName = Literal["chat", "plain", "official", "lm-eval", "opencompass", "cutegpt-mrr"]
ScorerName = Literal["text", "letter", "text-norm", "pmi", "generate", "cot"]
ShotChoice = Literal["first", "fixed", "label", "seeded"]
AveragingName = Literal["micro", "macro", "category"]
MetricName = Literal[
    "accuracy", "accuracy_micro", "accuracy_macro", "accuracy_category", "accuracy_norm",
    "accuracy_hard", "accuracy_china", "mrr", "hit@1", "hit@3", "hit@5", "hit@10",
    "bits_per_byte", "f1", "tokens_per_character",
]  # fmt: skip


class BenchmarkConfig(StrictModel):
    """One benchmark of an evaluation."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
    """Unique name; the records are in records/ID-MODEL.jsonl."""
    benchmark: str
    """Name in the table of benchmarks; `hanlin eval list` shows them."""
    data: DataPath
    """File or folder with the items, or a data set of the hub (owner/name)."""
    language: str | None = None
    """Take the items of this language only, where items say theirs; also shown in the report."""
    label: str | None = None
    """What the report calls it; None: the id."""
    limit: int | None = Field(None, ge=1)
    """At most so many items, spread evenly over the data; None: all."""
    metric: MetricName | None = None
    """Which metric is reported; None: the benchmark's own choice."""
    protocol: ProtocolName | None = None
    """chat: ask in the model's prompt format; plain: as running text; official: as its authors;
    lm-eval: that harness's; cutegpt-mrr: options ranked by their text, as Xiezhi's
    authors and CuteGPT did. None: the benchmark's own."""
    scorer: ScorerName | None = None
    """text: the likelihood of an option's text; letter: options are listed and A, B, ... scored;
    text-norm: per character; pmi: less the likelihood without the question; generate: a short
    answer is generated; cot: an answer with its reasoning. None: the protocol's own."""
    average: AveragingName | None = None
    """micro: over questions; macro: over subjects; category: over categories of subjects.
    None: the protocol's own."""
    options: int | None = Field(None, ge=2, le=200)
    """Fill every question up to so many options from those of all questions. None: as they are."""
    shuffle: bool = True
    """Shuffle options that were filled up; false: the published layout, whose right answer is
    always among the first four."""
    shot_choice: ShotChoice = "first"
    """Examples: the first of the subject, the same for all subjects (fixed), those that share a
    discipline (label), or drawn for each subject (seeded)."""
    shots: int | None = Field(None, ge=0, le=50)
    """Examples before each question, from the data's dev split. None: the benchmark's own."""
    split: str | None = None
    """Folder below `data` with the questions, for exams; None: the benchmark's own."""
    schema_file: InputPath | None = None
    """Types to extract (YAML), for extraction."""
    max_new_tokens: int | None = Field(None, ge=1)
    """Longest generated answer; None: a quarter longer than the longest right one."""
    max_bad_rows: float = Field(0.01, ge=0, le=1)
    """Largest share of rows that may be unusable."""


@dataclass(frozen=True)
class Subject:
    """The model under test.

    Attributes:
        name: what reports call it.
        engine: generates and scores.
        format: its prompt format.
    """

    name: str
    engine: Engine
    format: PromptFormat


@dataclass(frozen=True)
class Measure:
    """One measured metric; `chance` is what guessing would give, None where that has no meaning."""

    metric: str
    estimate: Estimate
    higher_is_better: bool
    chance: float | None = None


@dataclass(frozen=True)
class BenchmarkResult:
    """What one benchmark found about one model.

    Attributes:
        measures: all metrics; the first is reported unless the config names another.
        records: one row for each item, for the records folder.
        language: language of the items, "" where it is unknown or mixed.
        samples: extractions to show (see `benchmarks.extraction`).
        details: what stands behind the number: subjects, categories, biases, what was left out.
        parts: name -> what the number is made of; each gets a row of its own in the report.
    """

    measures: tuple[Measure, ...]
    records: tuple[dict[str, Any], ...]
    language: str
    samples: tuple[dict[str, Any], ...] = field(default=())
    details: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Measure] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """One row of the table of benchmarks.

    Attributes:
        summary: one line for the list.
        data: what `data` must be, for the list.
        run: called with (config, subject, seed of the intervals).
        paper: called alike; returns (questions, protocol) of a benchmark of questions.
    """

    summary: str
    data: str
    run: Callable[[BenchmarkConfig, Subject, int], BenchmarkResult]
    paper: Callable[[BenchmarkConfig, Subject, int], tuple[Any, Any]] | None = None


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """Return at most `limit` items, evenly spread: every subject of an exam is among them."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def language_of(config: BenchmarkConfig, languages: Sequence[str | None]) -> str:
    """Return the language that is reported: the config's, or the one that all items share."""
    found = {language or "" for language in languages}
    return config.language or (found.pop() if len(found) == 1 else "")


def chosen_items(
    items: Sequence[T], config: BenchmarkConfig, *, languages: Sequence[str | None]
) -> list[T]:
    """Return the items of the config's language, at most its limit.

    Raises:
        InputError: none is left.
    """
    pairs = zip(items, languages, strict=True)
    kept = [i for i, language in pairs if config.language in (None, language) or not language]
    if not kept:
        found = ", ".join(sorted({language for language in languages if language}))
        raise InputError(
            f"{config.data} has no item in the language {config.language!r}",
            why=f"its items are in: {found}",
            fix=f"set language of the benchmark {config.id!r} to one of these, or leave it out",
        )
    return spread(kept, config.limit)
