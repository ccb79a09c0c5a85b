"""Stage `instruct`: turn extraction examples into conversations that teach a model to extract.

hanlin extract instruct examples.jsonl --schema schema.yaml --out instructions
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hanlin.core.config import InputPath
from hanlin.core.files import size_bytes, write_jsonl
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.data.readers import BadRows
from hanlin.extraction.facts import Extraction, read_extractions
from hanlin.extraction.prompt import extraction_prompt, format_answer
from hanlin.extraction.schema import Schema, load_schemas, schema_for


class Config(StageConfig):
    """What is turned into conversations."""

    examples: InputPath
    """JSON lines with text, language, entities, relations and events."""

    schema_file: InputPath
    """YAML file with the types of each language."""

    max_bad_rows: float = Field(default=0.01, ge=0, le=1)
    """Largest share of examples that may be unusable; more of them stop the stage."""


def run(config: Config, context: StageContext) -> None:
    """Write chat.jsonl, and bad_rows.jsonl with what was left out."""
    schemas = load_schemas(config.schema_file)
    bad = BadRows(config.max_bad_rows)
    examples = list(read_extractions(config.examples, bad=bad))
    rows = []
    for number, example in enumerate(examples, 1):
        try:
            rows.append(conversation(example, schema_for(schemas, example.language)))
        except ValueError as error:
            bad.good -= 1
            bad.add(str(config.examples), number, f"{example.id}: {error}")
    bad.check(Path(config.examples))
    write_jsonl(context.out / "chat.jsonl", rows)
    write_jsonl(context.out / "bad_rows.jsonl", bad.as_records())
    context.progress(len(rows), len(rows), "conversations")


def conversation(example: Extraction, schema: Schema) -> dict[str, list[dict[str, str]]]:
    """Return the conversation in which an example's text is asked about and answered.

    Raises:
        ValueError: the example uses a type that the schema does not have.
    """
    return {
        "messages": [
            {"role": "user", "content": extraction_prompt(example.text, schema)},
            {"role": "assistant", "content": format_answer(example, schema)},
        ]
    }


def estimate(config: Config) -> Estimate:
    """Expect about as much as the examples."""
    path = Path(config.examples)
    return Estimate(disk_bytes=size_bytes(path) if path.exists() else None, seconds=1.0)


STAGE = Stage(
    summary="turn extraction examples into instruction conversations",
    config=Config,
    run=run,
    outputs={
        "chat": ("conversations", "chat.jsonl"),
        "bad_rows": ("bad-rows", "bad_rows.jsonl"),
    },
    estimate=estimate,
)
