"""How are the values of a JSON or JSON-lines file read one by one, whatever its name says?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.data.readers.rows import BadRows

BLOCK = 1 << 20  # characters read at a time from one long JSON document
SNIFFED_BYTES, SNIFFED_LINES = 4096, 50
Numbered = tuple[int, Any]


def read_values(path: Path, bad: BadRows) -> Iterator[Numbered]:
    """Yield (1-based line, value) for each line, or each element of a list.

    A line that is no JSON is a bad row. In one long document there is no telling where the next
    element begins after an error, so that is refused.

    Raises:
        InputError: the file cannot be read, or a JSON document is broken.
    """
    try:
        for number, value in _lines(path, bad) if is_json_lines(path) else _elements(path):
            if _is_text(value):
                yield number, value
            else:
                bad.add(str(path), number, "half of a character (a lone surrogate)")
    except OSError as error:
        raise os_error(error, path) from error


def _is_text(value: object) -> bool:
    """Tell whether every string in a JSON value can be written as UTF-8."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
        return True
    if isinstance(value, dict):
        return all(_is_text(key) and _is_text(item) for key, item in value.items())
    return not isinstance(value, list) or all(map(_is_text, value))


def is_json_lines(path: Path) -> bool:
    """Tell one value on each line from one long document, by the first lines and not by the name.

    A document begins with a list, or with an object of which no line is an object by itself. The
    suffix .jsonl decides only where all of the first lines are broken.
    """
    with path.open("rb") as stream:
        start = stream.read(SNIFFED_BYTES).decode("utf-8-sig", "replace").lstrip()
        stream.seek(0)
        if start.startswith("[") or start.partition("\n")[0].strip() == "{":
            return False
        lines = (line.decode("utf-8-sig", "replace") for line in islice(stream, SNIFFED_LINES))
        return path.suffix == ".jsonl" or not start or any(map(_is_value, lines))


def _is_value(line: str) -> bool:
    try:
        return line[:1] in ("{", '"') and bool(json.loads(line))
    except (ValueError, RecursionError):
        return False


def _lines(path: Path, bad: BadRows) -> Iterator[Numbered]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield number, json.loads(text)
            except UnicodeDecodeError as error:
                bad.add(str(path), number, f"not UTF-8 text: {error.reason}")
            except ValueError as error:
                bad.add(str(path), number, f"not JSON: {error}")
            except RecursionError:
                bad.add(str(path), number, "not JSON that can be read: nested too deeply")


def _elements(path: Path) -> Iterator[Numbered]:
    with path.open(encoding="utf-8-sig") as stream:
        try:
            first = stream.read(1)
            while first.isspace():
                first = stream.read(1)
            stream.seek(0)
            if first == "[":
                yield from _ListReader(path, stream.read).values()
            else:
                yield 1, json.load(stream)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not UTF-8 text",
                why=str(error),
                fix=f"iconv -f GB18030 -t UTF-8 {path} > NEW_FILE",
            ) from error
        except json.JSONDecodeError as error:
            raise _broken(path, error.lineno, error.msg) from error
        except RecursionError as error:
            raise _broken(path, 1, "nested too deeply") from error


def _broken(path: Path, line: int, reason: str) -> InputError:
    return InputError(
        f"{path}:{line}: this is not valid JSON",
        why=reason,
        fix="mend the file, or write one object on each line (.jsonl): then one bad line is "
        "left out and the others are read",
    )


class _ListReader:
    """Decodes a JSON list while holding about one block of it."""

    def __init__(self, path: Path, read: Any) -> None:  # noqa: ANN401 - a text stream's read
        self.path, self.read = path, read
        self.text, self.at, self.line, self.is_end = "", 0, 1, False

    def values(self) -> Iterator[Numbered]:
        decoder = json.JSONDecoder()
        self._skip("[")
        while self._next() != "]":
            try:
                value, end = decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if self.is_end:
                    line = self.line + self.text.count("\n", self.at, error.pos)
                    raise _broken(self.path, line, error.msg) from error
                self._more()
                continue
            if end == len(self.text) and not self.is_end:  # a number may go on in the next block
                self._more()
                continue
            yield self.line, value
            self._move(end)
            if self._next() != "]":
                self._skip(",")

    def _next(self) -> str:
        """Move to the next character that is not white space and return it, "" at the end."""
        while True:
            here = self.at
            while here < len(self.text) and self.text[here].isspace():
                here += 1
            self._move(here)
            if here < len(self.text) or self.is_end:
                return self.text[here : here + 1]
            self._more()

    def _skip(self, wanted: str) -> None:
        found = self._next()
        if found != wanted:
            reason = f"expected {wanted!r}, found {found!r}" if found else "the list has no end"
            raise _broken(self.path, self.line, reason)
        self.at += 1

    def _move(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def _more(self) -> None:
        # Twice as much as is held: one long element is not decoded again and again.
        block = self.read(max(BLOCK, len(self.text) - self.at))
        self.is_end = not block
        self.text, self.at = self.text[self.at :] + block, 0
