"""How do the questions that a graph can answer become rows to train a planning model with?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.files import atomic_directory, write_jsonl
from hanlin.extraction.knowledge.index import build
from hanlin.extraction.knowledge.planning import Form, Planned, plan_rows
from hanlin.extraction.knowledge.sources import read_graph
from hanlin.extraction.knowledge.wording import wordings


def write_plan_rows(  # noqa: PLR0913 - all that a user may choose
    graph: Sequence[Path], out: Path, *, languages: Sequence[str], form: Form, most: int,
    test_share: float, seed: int, force: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Write train.jsonl and test.jsonl (conversations) and questions.jsonl (with the answers).

    Args:
        graph: files or folders.
        out: a new folder.
        languages: of the questions.
        form: of the plans.
        most: questions of each number of hops and each language, in training; the others are left
            out, chosen by a digest of their words.
        test_share: share of the entities that only the test's questions begin at.
        seed: chooses those, and the wordings.
        force: replace `out`.

    Raises:
        InputError: the graph has nothing that can be asked in these languages.
    """
    index = build(read_graph(graph))
    rows = [
        row
        for wording in wordings(index, languages).values()
        for row in plan_rows(index, wording, test_share=test_share, seed=seed)
    ]
    if not rows:
        raise InputError(
            f"the graph has no facts that can be asked about in {', '.join(languages)}",
            why="both ends of a fact need a name in the language",
            fix="give a file of names as well, or another --language",
        )
    rows = _answered_together(rows)
    train = _drawn((row for row in rows if not row.is_test), most)
    test = _drawn((row for row in rows if row.is_test), most)
    with atomic_directory(out, force=force, inputs=graph) as folder:
        write_jsonl(folder / "train.jsonl", (row.row(form) for row in train))
        write_jsonl(folder / "test.jsonl", (row.row(form) for row in test))
        write_jsonl(folder / "questions.jsonl", map(asdict, test))
    return {"train": len(train), "test": len(test)}


def _answered_together(rows: Iterable[Planned]) -> list[Planned]:
    """Make one row of those with the same plan: a relation may lead to several entities."""
    found: dict[tuple[str, str], Planned] = {}
    for row in rows:
        key = (row.language, row.plan)
        old = found.get(key)
        answer = tuple(dict.fromkeys((*(old.answer if old else ()), *row.answer)))
        found[key] = replace(row, answer=answer)
    return list(found.values())


def _drawn(rows: Iterable[Planned], most: int) -> list[Planned]:
    """Return at most so many of each kind, in an order that their words decide."""
    ordered = sorted(
        rows, key=lambda row: hashlib.sha256(f"{row.question}\n{row.plan}".encode()).digest()
    )
    counts: dict[tuple[str, int], int] = {}
    chosen = []
    for row in ordered:
        kind = (row.language, row.hops)
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= most:
            chosen.append(row)
    return chosen
