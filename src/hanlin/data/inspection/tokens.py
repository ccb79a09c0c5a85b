"""What is in a token store, or in token ids that another program left?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hanlin.data.inspection.rows import NO_END, NOTHING_TRAINED, Problems, by_length
from hanlin.data.inspection.samples import Sample, sample_of_tokens
from hanlin.data.readers.token_ids import knowlm_types, read_token_ids
from hanlin.data.store import TokenStore
from hanlin.prompts.encode import stop_ids
from hanlin.prompts.probe import check_probe

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
LLAMA_EOS = 2  # of CuteGPT's ids, where no tokenizer is given


def inspect_store(path: Path, tokenizer: Tokenizer | None, rows: int) -> dict[str, Any]:
    """Return counts, samples, lengths and problems of a token store.

    Without the tokenizer nobody knows which id ends an answer: only untrained rows are found.

    Raises:
        InputError: it is damaged, or the tokenizer is not its own.
    """
    store = TokenStore.open(path)
    ends: tuple[int, ...] = ()
    if tokenizer is not None:
        store.check_tokenizer(tokenizer.sha256, where=str(tokenizer.path))
        format = check_probe(store.header, tokenizer, where=str(path))
        ends = stop_ids(format, tokenizer) if format else (tokenizer.eos_id,)
    found = _Rows(tokenizer, ends, rows)
    for place, ids, trained in _documents(store):
        found.add(place, ids, trained)
    bad = {"bad_rows": sum(source.bad_rows for source in store.sources)}
    return found.result({"rows": found.rows, **bad})


def inspect_token_ids(
    files: Iterable[Path], tokenizer: Tokenizer | None, rows: int
) -> dict[str, Any]:
    """Return counts, samples, lengths and problems of KnowLM's or CuteGPT's token ids.

    Raises:
        InputError: they are damaged, or do not fit together.
    """
    end_id = LLAMA_EOS if tokenizer is None else tokenizer.eos_id
    found = _Rows(tokenizer, (), rows)
    types: list[int] = []
    for file in files:
        if file.suffix in (".dis", ".tmp") or (
            file.suffix == ".bin" and file.with_suffix(".idx") in files
        ):
            continue  # read together with the index
        types += knowlm_types(file)
        for sample in read_token_ids(file, end_id=end_id):
            found.add(f"{file}:{sample.number}", sample.ids, sample.trained)
    return found.result({"rows": found.rows, **({"types": len(types)} if types else {})})


def _documents(store: TokenStore) -> Iterator[tuple[str, Ids, Mask]]:
    for number, source in enumerate(store.sources):
        offsets = store.offsets(number)
        for row in range(len(offsets) - 1):
            start, end = int(offsets[row]), int(offsets[row + 1])
            yield (
                f"{source.name}:{row + 1}",
                store.ids(number, start, end),
                store.mask(number, start, end),
            )


class _Rows:
    """Adds up rows of token ids."""

    def __init__(self, tokenizer: Tokenizer | None, ends: Sequence[int], shown: int) -> None:
        self.tokenizer, self.ends, self.shown = tokenizer, ends, shown
        self.rows = 0
        self._sums: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._samples: list[Sample] = []
        self._problems = Problems()

    def add(self, place: str, ids: Ids, trained: Mask) -> None:
        self.rows += 1
        count = int(trained.sum())
        self._sums.update(tokens=len(ids), trained_tokens=count)
        self._lengths[len(ids).bit_length()] += 1
        if not count:
            self._problems.add(NOTHING_TRAINED, place)
        elif self.ends:
            ends = int(np.isin(ids[trained], self.ends).sum())
            self._sums["end_tokens"] += ends
            if not ends and count < len(ids):  # a text may go on in the next row
                self._problems.add(NO_END, place)
        if self.tokenizer is not None and len(self._samples) < self.shown:
            sample = sample_of_tokens(ids.tolist(), trained.tolist(), self.tokenizer)
            self._samples.append(sample)

    def result(self, counts: dict[str, int]) -> dict[str, Any]:
        return {
            "counts": {**counts, **self._sums},
            "samples": self._samples,
            "lengths": {"tokens": by_length(self._lengths)} if self.rows else {},
            "problems": self._problems.found(self.rows),
        }
