"""`hanlin extract`: find entities, relations and events in texts, and measure how well.

hanlin extract run runs/quickstart --schema schema.yaml --input texts.txt --out found.jsonl
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option

if TYPE_CHECKING:
    from hanlin.extraction.facts import Extraction
    from hanlin.extraction.metrics import F1
    from hanlin.extraction.schema import Schema

existing = click.Path(path_type=Path)


@click.group()
def extract() -> None:
    """Extract entities, relations and events with their places in the text.

    \b
    Examples:
      hanlin extract run runs/quickstart --schema schema.yaml --input texts.txt --out found.jsonl
      hanlin extract score gold.jsonl found.jsonl
      hanlin extract instruct examples.jsonl --schema schema.yaml --out instructions
    """


@extract.command()
@click.argument("model")
@click.option("--schema", "schema_file", type=existing, required=True, help="Types to look for.")
@click.option(
    "--input", "input_file", type=existing, required=True,
    help='Texts: one on each line, or JSON lines with "text" and perhaps "language" and "id".',
)  # fmt: skip
@out_option()
@click.option("--html", type=existing, help="Also write a page with the spans marked.")
@click.option("--language", help="Language of texts that do not name one.")
@click.option("--prompt", help="Prompt format; without it the one the model was tuned on.")
@click.option(
    "--max-new-tokens", default=256, show_default=True, type=click.IntRange(1),
    help="Longest answer.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Read only so many texts.")
@force_option
@json_option
def run(  # noqa: PLR0913 - one argument for each option
    model: str,
    schema_file: Path,
    input_file: Path,
    out: Path,
    html: Path | None,
    language: str | None,
    prompt: str | None,
    max_new_tokens: int,
    limit: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Extract from the texts of a file with MODEL.

    \b
    Examples:
      hanlin extract run runs/quickstart --schema schema.yaml --input texts.txt --out found.jsonl
      hanlin extract run MODEL --schema schema.yaml --input new.txt --out new.jsonl --html new.html
    """
    from hanlin.core.files import write_atomic, write_jsonl
    from hanlin.extraction.facts import to_row
    from hanlin.extraction.html import page
    from hanlin.extraction.schema import load_schemas
    from hanlin.extraction.texts import read_texts

    for file in (out, html):
        _refuse_to_overwrite(file, force=force)
    schemas = load_schemas(schema_file)
    texts = read_texts(input_file, schemas=schemas, language=language)[:limit]
    found = _ask(model, texts, schemas, prompt=prompt, max_new_tokens=max_new_tokens)
    write_jsonl(out, map(to_row, found))
    if html is not None:
        write_atomic(html, page(found, title=input_file.name).encode("utf-8", "replace"))
    counts = _counts(found)
    text = f"{out}: " + ", ".join(f"{number} {name}" for name, number in counts.items())
    console.result({"out": str(out), **counts}, as_json=as_json, text=text)


def _refuse_to_overwrite(file: Path | None, *, force: bool) -> None:
    from hanlin.core.errors import InputError

    if file is not None and file.exists() and not force:
        raise InputError(
            f"{file} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another path, or add --force to replace it",
        )


def _ask(
    model: str,
    texts: list[Extraction],
    schemas: dict[str, Schema],
    *,
    prompt: str | None,
    max_new_tokens: int,
) -> list[Extraction]:
    """Extract from texts of several languages; the results are in the order of the texts."""
    from hanlin.core.records import Message
    from hanlin.extraction.extract import extract_each
    from hanlin.inference.engine import Sampling, open_engine
    from hanlin.prompts.encode import encode_prompt, stop_ids
    from hanlin.prompts.formats import get_format
    from hanlin.prompts.probe import check_probe

    engine = open_engine(model)
    trained = check_probe(engine.manifest, engine.tokenizer, where=f"{model}: hanlin.json")
    format = get_format(prompt) if prompt else trained or get_format("plain")

    def prompt_ids(question: str) -> list[int]:
        return encode_prompt([Message("user", question)], format=format, tokenizer=engine.tokenizer)

    ends = stop_ids(format, engine.tokenizer)
    sampling = Sampling(max_new_tokens=max_new_tokens, stop=format.stop_strings, stop_ids=ends)
    return extract_each(
        texts, schemas=schemas, engine=engine, prompt_ids=prompt_ids, sampling=sampling,
        progress=console.progress(),
    )  # fmt: skip


def _counts(found: list[Extraction]) -> dict[str, int]:
    return {
        "texts": len(found),
        "entities": sum(len(one.entities) for one in found),
        "not in the text": sum(m.start is None for one in found for m in one.entities),
        "relations": sum(len(one.relations) for one in found),
        "events": sum(len(one.events) for one in found),
        "unreadable parts": sum(one.unreadable for one in found),
    }


@extract.command()
@click.argument("gold", type=existing)
@click.argument("predicted", type=existing)
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap intervals.")
@json_option
def score(gold: Path, predicted: Path, seed: int, as_json: bool) -> None:
    """Compare the extractions in PREDICTED with those in GOLD: strict micro F1.

    Texts are matched by their id; a text without a prediction counts as one in which nothing was
    found.

    \b
    Examples:
      hanlin extract score gold.jsonl found.jsonl
      hanlin extract score gold.jsonl found.jsonl --json
    """
    from hanlin.extraction.facts import read_extractions
    from hanlin.extraction.metrics import f1, matched

    wanted = list(read_extractions(gold))
    scores = f1(wanted, matched(wanted, list(read_extractions(predicted))), seed=seed)
    header = ["part", "F1", "95 % interval", "precision", "recall", "gold", "found", "correct"]
    value = {part: _as_dict(one) for part, one in scores.items()}
    text = console.table([_cells(part, one) for part, one in scores.items()], header=header)
    console.result(value, as_json=as_json, text=text)


def _as_dict(score: F1) -> dict[str, float]:
    return {
        "f1": score.f1, "low": score.low, "high": score.high, "precision": score.precision,
        "recall": score.recall, "gold": score.gold, "predicted": score.predicted,
        "correct": score.correct,
    }  # fmt: skip


def _cells(part: str, score: F1) -> list[str]:
    values = [f"{score.f1:.3f}", f"{score.low:.3f} to {score.high:.3f}"]
    values += [f"{score.precision:.3f}", f"{score.recall:.3f}"]
    return [part, *values, *(str(n) for n in (score.gold, score.predicted, score.correct))]


@extract.command()
@click.argument("examples", type=existing)
@click.option(
    "--schema", "schema_file", type=existing, required=True, help="Types of the examples."
)
@out_option()
@force_option
@json_option
def instruct(examples: Path, schema_file: Path, out: Path, force: bool, as_json: bool) -> None:
    """Turn extraction EXAMPLES into conversations to finetune on.

    \b
    Examples:
      hanlin extract instruct examples.jsonl --schema schema.yaml --out instructions
    """
    from hanlin.core.config import InputPath
    from hanlin.extraction.knowledge.instruct import Config
    from hanlin.pipeline.run import run_single

    config = Config(examples=InputPath(examples), schema_file=InputPath(schema_file))
    folder = run_single("instruct", config, out=out, force=force, progress=console.progress())
    console.result({"out": str(folder)}, as_json=as_json, text=f"{folder}/chat.jsonl")
