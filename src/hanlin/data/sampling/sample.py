"""Which rows are kept, and what became of the others?

    hanlin data sample chat.jsonl chosen.jsonl --n 20000

Near duplicates go first. Of the different rows those are taken that together cover most of the
words and character pairs of all (`coverage`), under quotas for sources and lengths (`quotas`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import os_error
from hanlin.data.conversion.file import check_target, write_rows
from hanlin.data.corpus.shingles import Indices
from hanlin.data.readers import BadRows
from hanlin.data.sampling.coverage import (
    choose,
    covered_share,
    feature_weights,
)
from hanlin.data.sampling.nearest import NearestChosen
from hanlin.data.sampling.quotas import Cell, PerSource, make_cells, source_quotas
from hanlin.data.sampling.rows import list_inputs, read, read_values
from hanlin.data.sampling.scan import Pool, scan

Progress = Callable[[int, int, str], None]
STEPS = 4
IsChosen = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Settings:
    """How rows are chosen.

    Attributes:
        n: how many.
        seed: root of random numbers.
        per_source: see `quotas.source_quotas`; a source is an input, named as a file is.
        length_buckets: ranges of lengths, of which each gives its share.
        threshold: similarity from which on a row is a near duplicate of an earlier one.
        max_bad_rows: share of unusable rows of an input above which nothing is written.
        workers: processes that look at the texts; the choice is the same.
    """

    n: int
    seed: int = 0
    per_source: PerSource = "proportional"
    length_buckets: int = 5
    threshold: float = 0.8
    max_bad_rows: float = 0.01
    workers: int = 1


@dataclass(frozen=True)
class SourceCount:
    """What became of the rows of one source."""

    source: str
    rows: int
    near_duplicates: int
    chosen: int


@dataclass(frozen=True)
class LengthCount:
    """The different rows of one source whose lengths lie in one range, in words."""

    source: str
    shortest: int
    longest: int
    different: int
    chosen: int


@dataclass(frozen=True)
class Sample:
    """What was chosen. Shares are of the features that more than one row has, by weight.

    Attributes:
        covered: share that the chosen rows hold.
        covered_at_random: share that rows drawn at random under the same quotas hold.
    """

    out: str
    rows: int
    bad_rows: int
    near_duplicates: int
    chosen: int
    covered: float
    covered_at_random: float
    seed: int
    report: str | None
    sources: list[SourceCount]
    lengths: list[LengthCount]


def sample(
    inputs: Sequence[Path],
    out: Path,
    settings: Settings,
    *,
    report: Path | None = None,
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> Sample:
    """Choose rows of files and write them as they are, in their order.

    Args:
        inputs: files or folders that a reader knows; each is a source.
        out: .jsonl or .json, packed or not.
        settings: how many, and how.
        report: JSON lines, one for each usable row: whether it was chosen; if not, the nearest row
            that was, with its similarity.
        force: replace what is at `out` and `report`.
        progress: called with (done, total, text).

    Raises:
        ConfigError: a name or a quota makes no sense.
        InputError: the inputs cannot be read, or have fewer different rows than are wanted.
    """
    if report and report.resolve() == out.resolve():
        raise ConfigError(f"{out} is given for the rows and for --report", fix="give two files")
    for target in (out, *([report] if report else [])):
        check_target(target, force=force)
        _check_apart(target, inputs)
    names = source_names(inputs)
    files, bad = list_inputs(inputs), BadRows(settings.max_bad_rows)
    pool = scan(
        read(inputs, files, bad=bad), threshold=settings.threshold, folder=_made(out.parent),
        workers=settings.workers,
        tick=lambda rows: progress(0, STEPS, f"{rows:,} rows read"),
    )  # fmt: skip
    cells = _cells(pool, names, settings)
    weights = feature_weights(pool.features)
    progress(1, STEPS, f"choosing {settings.n:,} of {len(pool.different):,} rows")
    order = choose(pool.features, weights, [c.as_group() for c in cells], seed=settings.seed)
    chosen = np.sort(order)
    is_chosen = np.zeros(len(pool.line_of), np.bool_)
    is_chosen[pool.different[chosen]] = True
    progress(2, STEPS, "writing")
    wanted = [pool.place_of[is_chosen & (pool.file_of == number)] for number in range(len(files))]
    write_rows(out, read_values(files, wanted))
    if report:
        progress(3, STEPS, "reporting")
        nearest = NearestChosen(pool.features, weights, chosen)
        write_rows(report, _report_rows(pool, files, is_chosen, nearest))
    at_random = _at_random(cells, settings.seed)
    progress(STEPS, STEPS, "done")
    return Sample(
        out=str(out), rows=len(pool.line_of), bad_rows=bad.bad,
        near_duplicates=len(pool.line_of) - len(pool.different), chosen=len(chosen),
        covered=round(covered_share(pool.features, weights, chosen), 4),
        covered_at_random=round(covered_share(pool.features, weights, at_random), 4),
        seed=settings.seed, report=str(report) if report else None,
        sources=_source_counts(pool, names, is_chosen), lengths=_length_counts(cells, names),
    )  # fmt: skip


def source_names(inputs: Sequence[Path]) -> list[str]:
    """Return a name for each input: the file's, or the whole path where two have the same.

    Raises:
        ConfigError: an input is given twice.
    """
    if twice := [path for path, count in Counter(inputs).items() if count > 1]:
        raise ConfigError(f"{twice[0]} is given twice", fix="name each input once")
    short = Counter(path.name for path in inputs)
    return [path.name if short[path.name] == 1 else str(path) for path in inputs]


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise os_error(error, folder) from error
    return folder


def _check_apart(target: Path, inputs: Sequence[Path]) -> None:
    for path in inputs:
        if target.resolve().is_relative_to(path.resolve()):
            raise InputError(
                f"{target} lies where the input {path} is read",
                why="what is read would change while it is read",
                fix="give another place for the result",
            )


def _cells(pool: Pool, names: Sequence[str], settings: Settings) -> list[Cell]:
    different = len(pool.different)
    if settings.n > different:
        raise InputError(
            f"{settings.n:,} rows were asked for, and there are {different:,} different ones",
            why=f"{len(pool.line_of):,} rows were read; {len(pool.line_of) - different:,} of them "
            f"are near duplicates of earlier ones (similarity {settings.threshold} or more)",
            fix=f"--n {different}, or a higher --threshold",
        )
    source_of = pool.input_of[pool.different]
    counts = np.bincount(source_of, minlength=len(names)).tolist()
    quotas = source_quotas(names, counts, settings.n, settings.per_source)
    return make_cells(source_of, pool.lengths, quotas=quotas, buckets=settings.length_buckets)


def _at_random(cells: Sequence[Cell], seed: int) -> Indices:
    draw = np.random.default_rng([seed, len(cells)])
    return np.concatenate([draw.permutation(cell.rows)[: cell.quota] for cell in cells])


def _report_rows(
    pool: Pool, files: Sequence[tuple[int, Path]], is_chosen: IsChosen, nearest: NearestChosen
) -> Iterator[dict[str, object]]:
    """Yield what became of each row."""

    def place(row: int) -> dict[str, object]:
        return {"file": str(files[pool.file_of[row]][1]), "line": int(pool.line_of[row])}

    place_of = np.zeros(len(is_chosen), np.int64)
    place_of[pool.different] = np.arange(len(pool.different))
    out = np.flatnonzero(~is_chosen[pool.different])
    found, similarity = nearest.of(out)
    near = np.arange(len(pool.different))
    near[out] = found
    near_similarity = np.ones(len(pool.different))
    near_similarity[out] = similarity
    for row, is_taken in enumerate(is_chosen.tolist()):
        answer = {**place(row), "chosen": is_taken}
        if not is_taken:
            first = int(pool.duplicate_of[row])
            answer["reason"] = "not needed" if first < 0 else "near duplicate"
            if first >= 0:
                answer["duplicate_of"] = {**place(first), **_rounded(pool.similarity[row])}
            number = int(place_of[first if first >= 0 else row])
            other = int(near[number])
            is_first = first >= 0 and is_chosen[first]
            value = pool.similarity[row] if is_first else near_similarity[number]
            answer["nearest"] = (
                None if other < 0 else {**place(int(pool.different[other])), **_rounded(value)}
            )
        yield answer


def _rounded(similarity: np.floating) -> dict[str, float]:
    return {"similarity": round(float(similarity), 4)}


def _source_counts(pool: Pool, names: Sequence[str], is_chosen: IsChosen) -> list[SourceCount]:
    rows, doubled, chosen = (
        np.bincount(pool.input_of[mask], minlength=len(names)).tolist()
        for mask in (slice(None), pool.duplicate_of >= 0, is_chosen)
    )
    return [SourceCount(name, rows[i], doubled[i], chosen[i]) for i, name in enumerate(names)]


def _length_counts(cells: Sequence[Cell], names: Sequence[str]) -> list[LengthCount]:
    return [
        LengthCount(names[c.source], c.shortest, c.longest, len(c.rows), c.quota) for c in cells
    ]
