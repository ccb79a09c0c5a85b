"""Where do token ids live between preparing and training? In a memory-mapped store.

A store is a folder: `store.json`, and for each source, little endian: NAME.ids.bin (uint16 or
uint32), NAME.offsets.bin (uint64, one more than documents); for conversations NAME.mask.bin (uint8,
1 = the loss counts this token); for corpora, in tokens from the start of the source,
NAME.sentences.bin and NAME.clauses.bin (uint64, see `segment.TokenBorders`), and NAME.digests.bin
(uint64, of each document's text). `store.json` is written last: without it there is no store.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hanlin.core.errors import InputError
from hanlin.core.files import os_error, read_json, write_json
from hanlin.data.encoded import EncodedDocuments
from hanlin.data.store_files import Column, StoreSource, checksum, file_sizes
from hanlin.prompts.encode import EncodedConversations

__all__ = ["HEADER", "StoreSource", "StoreWriter", "TokenIds", "TokenStore"]

VERSION = 2
HEADER = "store.json"
TokenIds = npt.NDArray[np.int64]
NOTHING = np.zeros(0, np.uint64)


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
        seq_len: the most tokens that a document has; None: any number.
        starts_inside: ids that begin in the middle of a character (`segment.starts_inside`).
    """

    def __init__(  # noqa: PLR0913 - one argument for each entry of the header
        self,
        folder: Path,
        *,
        tokenizer_sha256: str,
        vocab_size: int,
        has_mask: bool = False,
        prompt: Mapping[str, object] | None = None,
        seq_len: int | None = None,
        starts_inside: Sequence[int] = (),
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
            "starts_inside": list(starts_inside),
        }
        self.sources: list[dict[str, Any]] = []
        self._begun: set[str] = set()
        self._files: dict[str, Column] = {}

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
        """Start a source, or go on with one that was taken over; what follows belongs to it."""
        if name in self._begun:
            raise ValueError(f"two sources are called {name!r}")
        self._close()
        self._begun.add(name)
        known = [source for source in self.sources if source["name"] == name]
        if known:  # the source that is written is the last one
            self.sources.remove(known[0])
            self.sources.append(known[0] | {"language": language, "weight": weight})
        else:
            self.sources.append(asdict(StoreSource(name, language, weight)))
        written = StoreSource(**self.sources[-1])
        for column, size in file_sizes(written, self.dtype, has_mask=self.has_mask).items():
            file = self.folder / f"{name}.{column}.bin"
            self._files[column] = Column(file, kept_bytes=size if written.documents else 0)
        if not written.documents:
            self._files["offsets"].write(np.zeros(1, "<u8"))

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
        self._files["ids"].write(np.asarray(ids, self.dtype))
        self._files["offsets"].write(np.asarray([source["tokens"]], "<u8"))
        if trained is not None:
            self._files["mask"].write(np.asarray(trained, np.uint8))

    def add_conversations(self, rows: EncodedConversations, *, text_bytes: int) -> None:
        """Append conversations with their masks to the source begun last.

        Args:
            rows: the conversations.
            text_bytes: UTF-8 bytes of all texts.
        """
        assert self.has_mask and len(rows.ids) == len(rows.trained) == rows.lengths.sum()
        source = self.sources[-1]
        self._files["ids"].write(rows.ids.astype(self.dtype))
        self._files["offsets"].write((source["tokens"] + np.cumsum(rows.lengths)).astype("<u8"))
        self._files["mask"].write(rows.trained.astype(np.uint8))
        source["documents"] += len(rows.lengths)
        source["tokens"] += len(rows.ids)
        source["trained_tokens"] += int(rows.trained.sum())
        source["text_bytes"] += text_bytes

    def add_documents(self, batch: EncodedDocuments) -> None:
        """Append documents with their sentences to the source begun last; it has no mask."""
        assert not self.has_mask
        source = self.sources[-1]
        start = source["tokens"]
        self._files["ids"].write(batch.ids.astype(self.dtype))
        for column, values in (
            ("offsets", start + np.cumsum(batch.lengths)),
            ("sentences", start + batch.sentences),
            ("clauses", start + batch.clauses),
            ("digests", batch.digests),
        ):
            self._files[column].write(values.astype("<u8"))
        source["documents"] += len(batch.lengths)
        source["tokens"] += len(batch.ids)
        source["trained_tokens"] += len(batch.ids)
        source["text_bytes"] += int(batch.text_bytes.sum())
        for column in ("sentences", "clauses", "digests"):
            source[column] += len(getattr(batch, column))

    def finish(self, *, bad_rows: int) -> StoreSource:
        """Record how many rows of the current source could not be read; return what is known."""
        self.sources[-1]["bad_rows"] += bad_rows
        return StoreSource(**self.sources[-1])

    def checkpoint(self) -> dict[str, Any]:
        """Hand everything to the operating system; return what `restore` needs to go on from here.

        It survives the end of this process. Damage done by a power failure is found by checksum.
        """
        checksums = {name: column.flush() for name, column in self._files.items()}
        sources = [dict(source) for source in self.sources]
        return {"sources": sources, "begun": sorted(self._begun), "checksums": checksums}

    def restore(self, saved: Mapping[str, Any]) -> bool:
        """Go back to a checkpoint and on from there; False, and nothing is changed, if it is gone.

        The next `begin` must name the source that was last then.
        """
        if not saved["sources"]:
            return True
        last = saved["sources"][-1]["name"]
        for source in saved["sources"]:
            sizes = file_sizes(StoreSource(**source), self.dtype, has_mask=self.has_mask)
            for column, size in sizes.items():
                file = self.folder / f"{source['name']}.{column}.bin"
                if not file.is_file() or file.stat().st_size < size:
                    return False
                if source["name"] == last and checksum(file, size) != saved["checksums"][column]:
                    return False
        self.sources = [dict(source) for source in saved["sources"]]
        self._begun = set(saved["begun"]) - {last}
        return True

    def take_over(self, store: TokenStore) -> None:
        """Begin with a copy of another store's documents; later sources of its names go on there.

        Raises:
            InputError: that store was made with another tokenizer, or is one of conversations.
        """
        store.check_tokenizer(str(self.header["tokenizer_sha256"]), where="the one of this stage")
        if store.has_mask or self.has_mask:
            raise InputError(
                f"{store.path} holds conversations; only stores of texts can be continued",
                why="what their loss counts is not known for texts",
                fix="give the store of a corpus, or name the two stores' weights in training",
            )
        for source in store.sources:
            for column in file_sizes(source, self.dtype, has_mask=False):
                name = f"{source.name}.{column}.bin"
                shutil.copyfile(store.path / name, self.folder / name)
        self.sources = [asdict(source) for source in store.sources]

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return the digests of the texts that the current source has so far."""
        self._files["digests"].flush()
        count = self.sources[-1]["digests"]
        file = self.folder / f"{self.sources[-1]['name']}.digests.bin"
        return np.fromfile(file, "<u8", count).astype(np.uint64)

    def _close(self) -> None:
        files, self._files = self._files, {}
        for file in files.values():
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
        self.starts_inside: list[int] = header["starts_inside"]
        self._rest = [self._map_rest(source) for source in self.sources]

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
        version = value.get("version") if isinstance(value, dict) else None
        if version != VERSION:
            older = isinstance(version, int) and version < VERSION
            raise InputError(
                f"{header} is not a token store of version {VERSION}",
                why=f"it has version {version}; "
                + (
                    "since then, stores know where sentences end" if older else "it is unknown here"
                ),
                fix="prepare the data again with this hanlin: "
                "hanlin data prepare corpus --config FILE --out DIR",
            )
        return cls(Path(path), value)

    def __reduce__(self) -> tuple[object, ...]:  # else a data loader's worker gets a copy of it all
        return TokenStore.open, (self.path,)

    def only(self, name: str) -> TokenStore:
        """Return one source as a store of its own, without a weight."""
        chosen = [asdict(s) | {"weight": None} for s in self.sources if s.name == name]
        return TokenStore(self.path, {**self.header, "sources": chosen})

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
        return self._rest[source]["mask"][start:end].astype(np.bool_)

    def sentence_ends(self, source: int) -> npt.NDArray[np.uint64]:
        """Return where the sentences of a source end, in tokens; nothing for conversations."""
        return self._rest[source].get("sentences", NOTHING)

    def clause_ends(self, source: int) -> npt.NDArray[np.uint64]:
        """Return where the clauses of its long sentences end, in tokens."""
        return self._rest[source].get("clauses", NOTHING)

    def digests(self, source: int) -> npt.NDArray[np.uint64]:
        """Return digests of its documents' texts, see `duplicates.digest`."""
        return self._rest[source].get("digests", NOTHING)

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

    def _map_rest(self, source: StoreSource) -> dict[str, npt.NDArray[Any]]:
        if self.has_mask:
            return {"mask": self._map(source, "mask", np.dtype(np.uint8), source.tokens)}
        number, names = np.dtype("<u8"), ("sentences", "clauses", "digests")
        return {name: self._map(source, name, number, getattr(source, name)) for name in names}

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
