"""How is a safetensors file written whose sizes are known only when its data is there?

The header comes first in the file, and a compressed tensor's size is known last: room for the
largest possible header is left free and filled up with spaces, which the format allows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

ANY_PLACE = 2**63  # no offset in a file is longer, written as a number


class DiffShard:
    """A file of tensors of bytes (U8), under a hidden name until it is complete.

    Use it in a `with` block; an exception removes it.
    """

    def __init__(self, file: Path, names: Sequence[str]) -> None:
        """Open the file with room for the header of all these tensors.

        Raises:
            OSError: it cannot be written.
        """
        self.sizes: dict[str, int] = {}
        self._file = file
        self._temporary = file.with_name(f".{file.name}.part")
        self._room = len(_header({name: (ANY_PLACE, ANY_PLACE) for name in names})) + 8
        self._room += -self._room % 8
        self._stream = self._temporary.open("wb")
        self._stream.seek(self._room)

    def __enter__(self) -> DiffShard:
        return self

    def append(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write one tensor behind the others."""
        start = self._stream.tell()
        for piece in pieces:
            self._stream.write(piece)
        self.sizes[name] = self._stream.tell() - start

    def drop_last(self) -> None:
        """Take back the tensor that was appended last."""
        _, size = self.sizes.popitem()
        self._stream.seek(-size, os.SEEK_CUR)
        self._stream.truncate()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the header and give the file its name; without tensors there is no file."""
        try:
            if kind is None and self.sizes:
                self._write_header()
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._stream.close()
                self._temporary.replace(self._file)
        finally:
            with suppress(OSError):  # the first error is the one to tell
                self._stream.close()
            self._temporary.unlink(missing_ok=True)

    def _write_header(self) -> None:
        places, end = {}, 0
        for name, size in self.sizes.items():
            places[name] = (end, end + size)
            end += size
        text = _header(places).ljust(self._room - 8)
        self._stream.seek(0)
        self._stream.write(len(text).to_bytes(8, "little") + text)


def _header(places: dict[str, tuple[int, int]]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "hanlin-diff"}}
    for name, (start, end) in places.items():
        entries[name] = {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
