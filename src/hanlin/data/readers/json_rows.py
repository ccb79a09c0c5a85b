"""How are the values of a JSON or JSON-lines file read one by one, whatever its name says?"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from hanlin.core.errors import InputError
from hanlin.data.readers.opened import (
    HEAD_BYTES,
    MAX_ROW_BYTES,
    bounded_lines,
    inner_name,
    opened,
    too_long,
)
from hanlin.data.readers.rows import BadRows

BLOCK = 1 << 20  # characters read at a time from one long JSON document
SNIFFED_LINES = 50
SNIFFED_BYTES = 1 << 20  # of the first line: a list that is longer is the whole document
HALF_CHARACTER = "half of a character (a lone surrogate)"
Numbered = tuple[int, Any]


def read_values(path: Path, bad: BadRows) -> Iterator[Numbered]:
    """Yield (1-based line, value) for each line, or each element of a list.

    Elements of a list that share a line have their number in the list in place of the line. A line
    that is no JSON is a bad row. In one long document there is no telling where the next element
    begins after an error, so that is refused.

    Raises:
        InputError: the file cannot be read, or a JSON document is broken.
    """
    is_lines = is_json_lines(path)
    with opened(path) as stream:
        for number, value, has_escapes in (
            _lines(path, stream, bad) if is_lines else _elements(path, stream)
        ):
            if has_escapes and not is_text(value):
                bad.add(str(path), number, HALF_CHARACTER)
            else:
                yield number, value


def is_text(value: object) -> bool:
    """Tell whether every string in a JSON value can be written as UTF-8."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
        return True
    if isinstance(value, dict):
        return all(is_text(key) and is_text(item) for key, item in value.items())
    return not isinstance(value, list) or all(map(is_text, value))


def is_json_lines(path: Path) -> bool:
    """Tell one value on each line from one long document, by the first lines and not by the name.

    A document begins with a list, or with an object of which no line is an object by itself; but a
    complete list on the first line, with more lines behind it, is a row. The suffix .jsonl decides
    only where all of the first lines are broken.
    """
    with opened(path) as stream:
        first = stream.readline(SNIFFED_BYTES).decode("utf-8-sig", "replace").strip()
        while not first and (line := stream.readline(HEAD_BYTES)):
            first = line.decode("utf-8", "replace").strip()
        if first.startswith("["):
            return first.endswith("]") and _has_more(stream) and _is_value(first, "[")
        if first == "{":
            return False
        if not first or _is_value(first, '{"'):
            return True
        lines = (line for _, line in islice(bounded_lines(stream), SNIFFED_LINES) if line)
        if any(_is_value(line.decode("utf-8", "replace"), '{"') for line in lines):
            return True
    return inner_name(path).suffix == ".jsonl"


def _has_more(stream: BinaryIO) -> bool:
    while block := stream.read(HEAD_BYTES):
        if block.strip():
            return True
    return False


def _is_value(line: str, starts: str) -> bool:
    try:
        return line[:1] != "" and line[0] in starts and json.loads(line) is not None
    except (ValueError, RecursionError):
        return False


def _lines(path: Path, stream: BinaryIO, bad: BadRows) -> Iterator[tuple[int, Any, bool]]:
    for number, line in bounded_lines(stream):
        if line is None:
            bad.add(str(path), number, too_long())
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if text and not text.isspace():
                yield number, json.loads(text), "\\u" in text
        except UnicodeDecodeError as error:
            bad.add(str(path), number, f"not UTF-8 text: {error.reason}")
        except ValueError as error:
            bad.add(str(path), number, f"not JSON: {error}")
        except RecursionError:
            bad.add(str(path), number, "not JSON that can be read: nested too deeply")


def _elements(path: Path, stream: BinaryIO) -> Iterator[tuple[int, Any, bool]]:
    reader = _DocumentReader(path, io.TextIOWrapper(stream, encoding="utf-8-sig"))
    try:
        yield from reader.values()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text",
            why=str(error),
            fix=f"iconv -f GB18030 -t UTF-8 {path} > NEW_FILE",
        ) from error
    except RecursionError as error:
        raise _broken(path, reader.line, "nested too deeply") from error


def _broken(path: Path, line: int, reason: str) -> InputError:
    return InputError(
        f"{path}:{line}: this is not valid JSON",
        why=reason,
        fix="mend the file, or write one object on each line (.jsonl): then one bad line is "
        "left out and the others are read",
    )


class _DocumentReader:
    """Decodes a list's elements, or values that follow one another, holding about one block."""

    def __init__(self, path: Path, stream: io.TextIOWrapper) -> None:
        self.path, self.stream = path, stream
        self.text, self.at, self.line, self.is_end = "", 0, 1, False

    def values(self) -> Iterator[tuple[int, Any, bool]]:
        decoder = json.JSONDecoder()
        is_list = self._next() == "["
        self.at += is_list
        close = "]" if is_list else ""
        count, last_line, are_numbered = 0, 0, False
        while self._next() != close:
            try:
                value, end = decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                self._more_or_broken(error)
                continue
            if end == len(self.text) and not self.is_end:  # a number may go on in the next block
                self._more()
                continue
            count += 1
            are_numbered = are_numbered or (is_list and self.line == last_line)
            last_line = self.line
            has_escapes = self.text.find("\\u", self.at, end) >= 0
            yield count if are_numbered else self.line, value, has_escapes
            self._move(end)
            if is_list and self._next() != close:
                self._skip(",")
        if is_list:
            self._skip("]")
            if self._next():
                raise _broken(self.path, self.line, "something follows the end of the list")

    def _more_or_broken(self, error: json.JSONDecodeError) -> None:
        if self.is_end or len(self.text) - self.at > MAX_ROW_BYTES:
            line = self.line + self.text.count("\n", self.at, error.pos)
            raise _broken(self.path, line, error.msg) from error
        self._more()

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
        block = self.stream.read(max(BLOCK, len(self.text) - self.at))
        self.is_end = not block
        self.text, self.at = self.text[self.at :] + block, 0
