"""Where do token ids live between preparing and training? In a memory-mapped store.

A store is a folder: `store.json`, and for each source NAME.ids.bin (uint16 or uint32, little
endian), NAME.offsets.bin (uint64, one more than documents) and, for conversations, NAME.mask.bin
(uint8, 1 = the loss counts this token). `store.json` is written last: without it there is no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from hanlin.core.errors import InputError
from hanlin.core.files import os_error, read_json, write_json

VERSION = 1
HEADER = "store.json"
TokenIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StoreSource:
    """What is known of one source of a store.

    Attributes:
        name: unique in the store; begins its files' names.
        language: "zh", "en", ... or None.
        weight: its share of the tokens that training draws, relative to the other sources;
            None = as many as it has.
        documents: how many documents (or conversations) it has.
        tokens: how many tokens.
        trained_tokens: how many of them the loss counts.
        text_bytes: UTF-8 bytes of the text that became tokens.
        bad_rows: rows that were left out because they could not be read.
    """

    name: str
    language: str | None
    weight: float | None
    documents: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    text_bytes: int = 0
    bad_rows: int = 0


class StoreWriter:
    """Writes a store document by document; memory does not grow with the corpus.

        with StoreWriter(folder, tokenizer_sha256=..., vocab_size=...) as writer:
            writer.begin("zh", language="zh", weight=2.0)
            writer.add(ids, text_bytes=120)

    Args:
        folder: where the store goes; made if needed.
        tokenizer_sha256: digest of the tokenizer that made the ids.
        vocab_size: ids below 65536 are stored in two bytes each.
        has_mask: store a loss mask.
        prompt: prompt format and probe ids of conversations (`prompts.probe.prompt_record`).
        seq_len: the most tokens that a conversation has; None for corpora.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tokenizer_sha256: str,
        vocab_size: int,
        has_mask: bool = False,
        prompt: Mapping[str, object] | None = None,
        seq_len: int | None = None,
    ) -> None:
        self.folder, self.has_mask = folder, has_mask
        self.dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
        self.header: dict[str, object] = {
            "version": VERSION,
            "dtype": "uint16" if self.dtype.itemsize == 2 else "uint32",
            "tokenizer_sha256": tokenizer_sha256,
            "has_mask": has_mask,
            "prompt": dict(prompt) if prompt else None,
            "seq_len": seq_len,
        }
        self.sources: list[dict[str, Any]] = []
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / HEADER).unlink(missing_ok=True)
        except OSError as error:
            raise os_error(error, self.folder) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            self._close()
        except OSError as failure:
            if error is None:
                raise os_error(failure, self.folder) from failure
        if isinstance(error, OSError):
            raise os_error(error, self.folder) from error
        if error is None:
            write_json(self.folder / HEADER, {**self.header, "sources": self.sources})

    def begin(self, name: str, *, language: str | None = None, weight: float | None = None) -> None:
        """Start a source; the documents that follow belong to it."""
        if name in [source["name"] for source in self.sources]:
            raise ValueError(f"two sources are called {name!r}")
        self._close()
        self.sources.append(asdict(StoreSource(name, language, weight)))
        suffixes = ["ids", "offsets"] + (["mask"] if self.has_mask else [])
        self._files = [(self.folder / f"{name}.{suffix}.bin").open("wb") for suffix in suffixes]
        self._files[1].write(np.zeros(1, "<u8").tobytes())

    def add(
        self, ids: Sequence[int], *, trained: Sequence[bool] | None = None, text_bytes: int = 0
    ) -> None:
        """Append one document to the source begun last.

        Args:
            ids: its token ids, special ones included.
            trained: for each token whether the loss counts it; needed when the store has a mask.
            text_bytes: UTF-8 bytes of its text.
        """
        if self.has_mask != (trained is not None) or len(ids) != len(
            ids if trained is None else trained
        ):
            raise ValueError("a mask of the same length goes with the ids, or none at all")
        source = self.sources[-1]
        source["documents"] += 1
        source["tokens"] += len(ids)
        source["trained_tokens"] += len(ids) if trained is None else sum(trained)
        source["text_bytes"] += text_bytes
        self._files[0].write(np.asarray(ids, self.dtype).tobytes())
        self._files[1].write(np.asarray([source["tokens"]], "<u8").tobytes())
        if trained is not None:
            self._files[2].write(np.asarray(trained, np.uint8).tobytes())

    def finish(self, *, bad_rows: int) -> StoreSource:
        """Record how many rows of the current source could not be read; return what is known."""
        self.sources[-1]["bad_rows"] = bad_rows
        return StoreSource(**self.sources[-1])

    def _close(self) -> None:
        files, self._files = self._files, []
        for file in files:
            file.close()


class TokenStore:
    """Reads a store. Opening costs the same for a gigabyte as for a kilobyte."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path, self.header = path, header
        known = {field.name for field in fields(StoreSource)}
        self.sources = tuple(
            StoreSource(**{key: value for key, value in source.items() if key in known})
            for source in header["sources"]
        )
        self.has_mask: bool = header["has_mask"]
        self.seq_len: int | None = header["seq_len"]
        dtype = np.dtype(header["dtype"]).newbyteorder("<")
        self._ids = [self._map(s, "ids", dtype, s.tokens) for s in self.sources]
        self._offsets = [
            self._map(s, "offsets", np.dtype("<u8"), s.documents + 1) for s in self.sources
        ]
        self._masks = [
            self._map(s, "mask", np.dtype(np.uint8), s.tokens)
            for s in self.sources
            if self.has_mask
        ]

    @classmethod
    def open(cls, path: str | Path) -> TokenStore:
        """Open a store.

        Raises:
            InputError: it is no store, of another version, or a file has not the promised length.
        """
        header = Path(path) / HEADER
        if not header.exists():
            raise InputError(
                f"{path} is no token store",
                why=f"it has no {HEADER}; that file is written when everything else is complete",
                fix="hanlin data prepare corpus --config FILE --out DIR",
            )
        value = read_json(header)
        if not isinstance(value, dict) or value.get("version") != VERSION:
            raise InputError(
                f"{header} is not a token store of version {VERSION}",
                why="this version of hanlin cannot read it",
                fix="prepare the data again",
            )
        return cls(Path(path), value)

    def __reduce__(self) -> tuple[object, ...]:  # else a data loader's worker gets a copy of it all
        return TokenStore.open, (self.path,)

    @property
    def tokens(self) -> int:
        """Return the tokens of all sources."""
        return sum(source.tokens for source in self.sources)

    def offsets(self, source: int) -> npt.NDArray[np.uint64]:
        """Return where each document of a source starts, and at last where the final one ends."""
        return self._offsets[source]

    def lengths(self, source: int) -> TokenIds:
        """Return the tokens of each document of a source."""
        offsets = self._offsets[source].astype(np.int64)
        return offsets[1:] - offsets[:-1]

    def ids(self, source: int, start: int, end: int) -> TokenIds:
        """Return the ids of tokens [start, end) of a source."""
        return self._ids[source][start:end].astype(np.int64)

    def mask(self, source: int, start: int, end: int) -> npt.NDArray[np.bool_]:
        """Return which of the tokens [start, end) the loss counts; all where there is no mask."""
        if not self.has_mask:
            return np.ones(end - start, np.bool_)
        return self._masks[source][start:end].astype(np.bool_)

    def check_tokenizer(self, sha256: str, *, where: str) -> None:
        """Refuse a tokenizer that did not make these ids.

        Args:
            sha256: digest of the tokenizer that is about to be used.
            where: where that tokenizer lies, for the message.

        Raises:
            InputError: the digests differ.
        """
        if sha256 != self.header["tokenizer_sha256"]:
            raise InputError(
                f"the token store {self.path} was made with another tokenizer than {where}",
                why=f"its ids mean other pieces there (digest {self.header['tokenizer_sha256']:.12}"
                f" against {sha256:.12})",
                fix="prepare the data again with the model's tokenizer",
            )

    def _map(
        self, source: StoreSource, suffix: str, dtype: np.dtype[Any], length: int
    ) -> npt.NDArray[Any]:
        file = self.path / f"{source.name}.{suffix}.bin"
        size = file.stat().st_size if file.exists() else None
        if size != length * dtype.itemsize:
            raise InputError(
                f"{file} is damaged",
                why=f"expected {length * dtype.itemsize} bytes, found {size or 'no file'}",
                fix="prepare the data again",
            )
        if not length:  # an empty file cannot be mapped
            return np.zeros(0, dtype)
        return np.memmap(file, dtype, mode="r")
