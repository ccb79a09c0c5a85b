"""How are token ids read that other programs left instead of text?

KnowLM's store: P.bin (uint16 ids), P.idx (uint64 starts of all samples, then their uint16 lengths,
both in tokens) and P.dis (how many samples each type has). CuteGPT's pickle: flat lists of
input_ids, labels (-100 where the loss does not look) and attention_mask, cut after each end token.
(KnowLM: pretrain/preprocess.py; CuteGPT: data/convert_data.py.)
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.data.readers.pickle_rows import load_pickle, load_pickle_stream

BYTES_PER_SAMPLE = 10  # in P.idx
IGNORED = -100
MAX_DIS_BYTES = 1 << 20
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenSample:
    """One text as token ids.

    Attributes:
        ids: int64, shape [tokens].
        trained: whether the loss counts each, bool [tokens].
        number: 1-based place in the file.
    """

    ids: Ids
    trained: npt.NDArray[np.bool_]
    number: int


def read_token_ids(path: Path, *, end_id: int) -> Iterator[TokenSample]:
    """Yield the samples of a KnowLM store (any of its files) or of CuteGPT's pickle of ids.

    Args:
        path: the file.
        end_id: the end token, that ends each text of CuteGPT's stream; KnowLM's index tells.

    Raises:
        InputError: the files do not fit together, or are damaged.
    """
    if path.suffix in (".bin", ".idx"):
        yield from _knowlm(path)
        return
    ids, trained = _cutegpt(path)
    start = 0
    for number, end in enumerate([*(np.flatnonzero(ids == end_id) + 1), len(ids)], 1):
        if end > start:
            yield TokenSample(ids[start:end], trained[start:end], number)
            start = end


def is_token_pickle(path: Path) -> bool:
    """Tell CuteGPT's pickle of token ids from one of dialogues."""
    value = load_pickle(path)
    return isinstance(value, dict) and "input_ids" in value


def knowlm_types(path: Path) -> list[int]:
    """Return how many samples each type of a KnowLM store has; [] where P.dis is missing.

    Raises:
        InputError: P.dis is damaged, or does more than list numbers.
    """
    file = path.with_suffix(".dis")
    if not file.exists():
        return []
    try:
        with zipfile.ZipFile(file) as archive:
            name = next((n for n in archive.namelist() if n.endswith("/data.pkl")), "")
            if not name or archive.getinfo(name).file_size > MAX_DIS_BYTES:
                raise InputError(f"{file} is no list that torch has saved")
            with archive.open(name) as stream:
                counts = load_pickle_stream(stream, where=str(file))  # type: ignore[arg-type]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{file} is no file that torch has saved", why=str(error)) from error
    if not isinstance(counts, list) or not all(isinstance(count, int) for count in counts):
        raise InputError(
            f"{file} is no list of numbers", why="it is not one of KnowLM's .dis files"
        )
    return counts


def _knowlm(path: Path) -> Iterator[TokenSample]:
    index, tokens = path.with_suffix(".idx"), path.with_suffix(".bin")
    try:
        raw, size = index.read_bytes(), tokens.stat().st_size
        ids = np.memmap(tokens, "<u2", "r") if size > 1 else np.zeros(0, "<u2")
    except OSError as error:
        missing = tokens if index.exists() else index
        raise os_error(error, missing) from error
    count = len(raw) // BYTES_PER_SAMPLE
    if len(raw) % BYTES_PER_SAMPLE or size % 2:
        raise InputError(f"{index} or {tokens.name} is cut off", why=f"{len(raw)} and {size} bytes")
    starts = np.frombuffer(raw, "<u8", count)
    lengths = np.frombuffer(raw, "<u2", count, 8 * count)
    ends = starts + lengths
    if count and (ends[-1] != len(ids) or (ends > len(ids)).any() or (starts > ends).any()):
        raise InputError(
            f"{index} and {tokens.name} do not belong together",
            why=f"the samples end at {int(ends.max())}, the tokens at {len(ids)}",
            fix="take both from the same run of KnowLM's preprocess.py",
        )
    types = knowlm_types(path)
    if types and sum(types) != count:
        raise InputError(f"{path.with_suffix('.dis')} counts {sum(types)} samples, not {count}")
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True), 1):
        part = ids[start:end].astype(np.int64)
        yield TokenSample(part, np.ones(len(part), bool), number)


def _cutegpt(path: Path) -> tuple[Ids, npt.NDArray[np.bool_]]:
    value = load_pickle(path)
    found = value if isinstance(value, dict) else {}
    ids, labels = found.get("input_ids"), found.get("labels")
    if not isinstance(ids, list) or not isinstance(labels, list) or len(ids) != len(labels):
        raise InputError(f"{path} has no input_ids and labels of the same length")
    try:
        arrays = np.asarray(ids, np.int64), np.asarray(labels, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: input_ids or labels are not flat lists of numbers") from error
    if arrays[0].ndim != 1 or (len(ids) and arrays[0].min() < 0):
        raise InputError(f"{path}: input_ids or labels are not flat lists of numbers")
    trained = arrays[1] != IGNORED
    if (arrays[1][trained] != arrays[0][trained]).any():
        raise InputError(f"{path}: labels are neither -100 nor the token itself")
    return arrays[0], trained
