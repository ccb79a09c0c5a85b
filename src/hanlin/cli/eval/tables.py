"""How do scores of several models look in a terminal?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.cli import console

WHOLE, BELOW = "Average", "*"
Column = tuple[str, Sequence[Mapping[str, Any]], str]


def scores_table(columns: Sequence[Column]) -> str:
    """Lay out (title, rows of scores.json, model) side by side; one line for each benchmark."""
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for title, rows, model in columns:
        for row in rows:
            arrow = "higher" if row["higher_is_better"] else "lower"
            chance = "" if row["chance"] is None else f"{row['chance']:.3f}"
            key = (row["label"], row["language"], row["metric"], arrow, chance)
            cells.setdefault(key, {})[title] = _cell(row["scores"].get(model))
    titles = [title for title, _, _ in columns]
    lines = [[*key, *(found.get(title, "") for title in titles)] for key, found in cells.items()]
    return console.table(
        lines, header=["benchmark", "language", "metric", "better", "chance", *titles]
    )


def paired_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the paired tests of `hanlin eval compare`."""
    lines = [
        [f"{r['from']} -> {r['to']}", r["benchmark"], str(r["n"]),
         f"{r['difference']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]", f"{r['mcnemar_p']:.3f}"]
        for r in rows
    ]  # fmt: skip
    return console.table(lines, header=["paired", "benchmark", "n", "difference", "McNemar p"])


def published_table(rows: Sequence[Mapping[str, Any]], own: Sequence[Column]) -> str:
    """Lay out published figures below one's own: a table for each benchmark, metric and shots."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["benchmark"], row["metric"], row["shots"]), []).append(row)
    return "\n\n".join(_group_table(key, found, own) for key, found in groups.items())


def _group_table(
    key: tuple[str, str, int], rows: Sequence[Mapping[str, Any]], own: Sequence[Column]
) -> str:
    """Lay out one line for each model, and a column for each part of the benchmark."""
    benchmark, metric, shots = key
    parts = sorted(dict.fromkeys(row["part"] for row in rows), key=lambda part: part != WHOLE)
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for title, scores, model in own:
        for row in scores:
            settings = row.get("settings", {})
            if (settings.get("benchmark"), row["metric"], settings.get("shots")) == key:
                found = _own_parts(row, model, first=settings.get("part") or parts[0])
                lines[title, settings.get("split", ""), "measured here"] = found
    for row in rows:
        mark = BELOW if row["below_chance"] else ""
        cells = lines.setdefault((row["model"], row["split"], row["source"]), {})
        cells[row["part"]] = f"{row['value']:.3f}{mark}"
    header = ["published, not measured", *parts, "split", "source"]
    body = [
        [model, *(cells.get(part, "") for part in parts), split, source]
        for (model, split, source), cells in lines.items()
    ]
    text = f"{benchmark}, {metric}, {shots} examples\n{console.table(body, header=header)}"
    is_below = any(row["below_chance"] for row in rows)
    return f"{text}\n{BELOW} below chance: a sign of a faulty procedure" if is_below else text


def _own_parts(row: Mapping[str, Any], model: str, *, first: str) -> dict[str, str]:
    score = row["scores"].get(model)
    found = {first: f"{score['value']:.3f}"} if score else {}
    categories = row.get("categories", {}).get(model, {})
    return found | {name: f"{c['accuracy']:.3f}" for name, c in categories.items()}


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return ""
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}] n={score['n']}"
