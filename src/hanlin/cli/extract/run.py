"""`hanlin extract run`: find entities, relations and events in texts with a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.extract.pages import graph_option, html_option, refuse_to_overwrite, write_pages
from hanlin.cli.options import force_option, json_option, out_option

if TYPE_CHECKING:
    from hanlin.extraction.facts import Extraction
    from hanlin.extraction.schema import Schema
    from hanlin.pipeline.extraction import Settings

existing = click.Path(path_type=Path)


@click.command()
@click.argument("model")
@click.option(
    "--schema", "schema_file", required=True,
    help="Types to look for: a YAML or JSON file, or a ready schema such as cluener or fewfc.",
)  # fmt: skip
@click.option(
    "--input", "input_file", type=existing, required=True,
    help='Texts: one on each line, or JSON lines with "text" and perhaps "language" and "id".',
)  # fmt: skip
@out_option()
@html_option
@graph_option
@click.option("--language", help="Language of texts that do not name one.")
@click.option("--prompt", help="Prompt format; without it the one the model was tuned on.")
@click.option(
    "--format", "form", default="lines", show_default=True,
    help="Form of question and answer: lines, json, json-spans, iepile, deepke-0 to deepke-3, "
    "knowlm, cutegpt.",
)  # fmt: skip
@click.option(
    "--constrain", type=click.Choice(["off", "schema", "text"]), default="off", show_default=True,
    help="Hold the model to the types of the schema; with text, also its names to the text.",
)  # fmt: skip
@click.option(
    "--ground", type=click.Choice(["exact", "folded", "script", "fuzzy"]),
    help="How far a name may differ from the text that it is found in; without it as far as the "
    "installed packages allow.",
)  # fmt: skip
@click.option(
    "--chunk-chars", default=1000, show_default=True, type=click.IntRange(1),
    help="Characters of a text that are asked about at a time, in whole sentences.",
)  # fmt: skip
@click.option(
    "--overlap", default=100, show_default=True, type=click.IntRange(0),
    help="Characters that a chunk repeats of the one before.",
)  # fmt: skip
@click.option(
    "--passes", default=1, show_default=True, type=click.IntRange(1),
    help="How often a long text is gone through, each time with other borders.",
)  # fmt: skip
@click.option(
    "--max-new-tokens", default=256, show_default=True, type=click.IntRange(1),
    help="Longest answer.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Read only so many texts.")
@force_option
@json_option
def run(
    model: str, schema_file: str, input_file: Path, out: Path, as_json: bool, **options: Any  # noqa: ANN401
) -> None:  # fmt: skip
    """Extract from the texts of a file with MODEL.

    Long texts are divided at the ends of sentences. A run that was interrupted goes on where it
    stopped when the same command is given again.

    \b
    Examples:
      hanlin extract run runs/quickstart --schema schema.yaml --input texts.txt --out found.jsonl
      hanlin extract run MODEL --schema cluener --input new.txt --out new.jsonl --html new.html
      hanlin extract run MODEL --schema s.yaml --input a.txt --out a.jsonl --constrain text
    """
    from hanlin.extraction.schema import load_schemas
    from hanlin.extraction.texts import read_texts
    from hanlin.pipeline.extraction import Settings

    for file in (out, options["html"], options["graph"]):
        refuse_to_overwrite(file, force=options["force"])
    schemas = load_schemas(schema_file)
    texts = read_texts(input_file, schemas=schemas, language=options["language"])
    settings = Settings(
        form=options["form"], constrain=options["constrain"],
        until=options["ground"], prompt=options["prompt"], max_new_tokens=options["max_new_tokens"],
    )  # fmt: skip
    _run(model, texts[: options["limit"]], schemas, settings=settings, out=out, options=options)
    counts = write_pages(out, options, title=input_file.name)
    text = f"{out}: " + ", ".join(f"{number} {name}" for name, number in counts.items())
    console.result({"out": str(out), **counts}, as_json=as_json, text=text)


def _run(
    model: str,
    texts: list[Extraction],
    schemas: dict[str, Schema],
    *,
    settings: Settings,
    out: Path,
    options: dict[str, Any],
) -> None:
    """Write what is in the texts; go on where an earlier run stopped."""
    from hanlin.core.errors import ConfigError
    from hanlin.extraction.chunks import Chunking
    from hanlin.extraction.job import run_job
    from hanlin.inference.engine import open_engine
    from hanlin.pipeline.extraction import open_extractor

    try:
        chunking = Chunking(
            options["chunk_chars"],
            min(options["overlap"], options["chunk_chars"] - 1),
            options["passes"],
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    extractor = open_extractor(open_engine(model), schemas, settings)
    key = repr((str(Path(model).resolve()), settings, sorted(schemas.items())))
    before = run_job(
        texts, extractor.batch, out=out, chunking=chunking, key=key, progress=console.progress()
    )
    if before:
        console.note(f"went on: {before} chunks were done before")
