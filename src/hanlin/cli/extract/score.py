"""`hanlin extract score`: how much of what is there was found?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.options import json_option

if TYPE_CHECKING:
    from hanlin.extraction.facts import Extraction
    from hanlin.extraction.metrics import F1
    from hanlin.extraction.scores import Match, Scores

existing = click.Path(path_type=Path)


@click.command()
@click.argument("gold", type=existing)
@click.argument("predicted", type=existing)
@click.option(
    "--match", type=click.Choice(["text", "span", "relaxed"]), default="text", show_default=True,
    help="What must be equal: types and names, types and places, or types with names that overlap.",
)  # fmt: skip
@click.option("--types", "by_type", is_flag=True, help="Also show each type by itself.")
@click.option(
    "--kind", help="Form of GOLD, such as cluener or bio; without it told by its content."
)
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap intervals.")
@json_option
def score(  # noqa: PLR0913 - one argument for each option
    gold: Path,
    predicted: Path,
    match: Match,
    by_type: bool,
    kind: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Compare the extractions in PREDICTED with those in GOLD: F1, micro and macro.

    GOLD and PREDICTED may have the form of any data set of extraction. Texts are matched by their
    id; a text without a prediction counts as one in which nothing was found.

    \b
    Examples:
      hanlin extract score gold.jsonl found.jsonl
      hanlin extract score gold.jsonl found.jsonl --match relaxed --types
      hanlin extract score cluener_dev.jsonl found.jsonl --match span --json
    """
    from hanlin.extraction.metrics import matched
    from hanlin.extraction.readers import read_set
    from hanlin.extraction.scores import scores

    wanted = list(read_set(gold, kind=kind))
    found = matched(wanted, list(read_set(predicted)))
    parts = scores(wanted, found, match=match, seed=seed)
    both = _together(wanted, found, match=match, seed=seed)
    value: dict[str, Any] = {part: _part(one, by_type=by_type) for part, one in parts.items()}
    value |= {part: _as_dict(one) for part, one in both.items()}
    header = ["part", "F1", "95 % interval", "macro", "precision", "recall", "gold", "found",
              "correct"]  # fmt: skip
    rows = _rows(parts, by_type=by_type) + [_cells(part, one) for part, one in both.items()]
    console.result(value, as_json=as_json, text=console.table(rows, header=header))


def _together(
    wanted: list[Extraction], found: list[Extraction], *, match: Match, seed: int
) -> dict[str, F1]:
    """Return the scores over triggers and arguments, and over everything, where strings count."""
    from hanlin.extraction.metrics import f1

    if match != "text":
        return {}
    strict = f1(wanted, found, seed=seed)
    return {part: strict[part] for part in ("events", "overall")}


def _part(one: Scores, *, by_type: bool) -> dict[str, Any]:
    value: dict[str, Any] = {**_as_dict(one.micro), "macro": one.macro}
    if by_type:
        value["types"] = {name: _as_dict(own) for name, own in one.types.items()}
    return value


def _as_dict(score: F1) -> dict[str, float]:
    return {
        "f1": score.f1, "low": score.low, "high": score.high, "precision": score.precision,
        "recall": score.recall, "gold": score.gold, "predicted": score.predicted,
        "correct": score.correct,
    }  # fmt: skip


def _rows(parts: dict[str, Scores], *, by_type: bool) -> list[list[str]]:
    rows = []
    for part, one in parts.items():
        rows.append(_cells(part, one.micro, macro=f"{one.macro:.3f}"))
        if by_type:
            rows += [_cells(f"  {name}", own) for name, own in one.types.items()]
    return rows


def _cells(part: str, score: F1, *, macro: str = "") -> list[str]:
    values = [f"{score.f1:.3f}", f"{score.low:.3f} to {score.high:.3f}", macro]
    values += [f"{score.precision:.3f}", f"{score.recall:.3f}"]
    return [part, *values, *(str(n) for n in (score.gold, score.predicted, score.correct))]
