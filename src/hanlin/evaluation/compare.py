"""Is one model better than another on the same questions, or did chance make the difference?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.evaluation.statistics import mcnemar, paired_difference

Content = Mapping[str, Any]


def compared(first: Content, second: Content, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return a paired test for each benchmark that two result files share, with their records.

    Args:
        first: what `hanlin eval run` wrote for one model.
        second: the same of another model.
        seed: of the bootstrap.
    """
    a, b = _by_benchmark(first), _by_benchmark(second)
    rows = []
    for name in [name for name in a if name in b]:
        ids = [id_ for id_ in a[name] if id_ in b[name]]
        if not ids:
            continue
        before = [a[name][id_] for id_ in ids]
        after = [b[name][id_] for id_ in ids]
        difference = paired_difference(before, after, seed=seed)
        rows.append(
            {
                "benchmark": name,
                "n": len(ids),
                "only_in_one": len(a[name]) + len(b[name]) - 2 * len(ids),
                "difference": round(difference.value, 6),
                "low": round(difference.low, 6),
                "high": round(difference.high, 6),
                "mcnemar_p": round(mcnemar(_right(before), _right(after)), 6),
            }
        )
    return rows


def _right(values: Sequence[float]) -> list[bool]:
    return [value >= 1 for value in values]


def _by_benchmark(content: Content) -> dict[str, dict[str, float]]:
    """Return benchmark -> question's id -> whether it was right."""
    names = [row["benchmark"] for row in content["rows"]]
    found: dict[str, dict[str, float]] = {}
    for record in content.get("records", ()):
        if "correct" in record:
            name = record.get("benchmark", names[0])
            found.setdefault(name, {})[record["id"]] = record["correct"]
    return found
