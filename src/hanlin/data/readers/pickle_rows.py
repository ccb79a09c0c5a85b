"""What does a pickle of plain lists describe, when nothing in it may be executed?

A pickle is a program for a small machine with a stack, that can name functions and call them. This
machine makes lists, dictionaries, texts and whole numbers; it has no way to import or to call, and
refuses every other opcode. (Opcodes: Python's pickletools. What is read so: CuteGPT's
`ift_data.pkl` and `llama_ift_data_ids.pkl`, KnowLM's `.dis`.)
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from hanlin.core.errors import InputError
from hanlin.data.readers.json_rows import HALF_CHARACTER, is_text
from hanlin.data.readers.opened import opened
from hanlin.data.readers.rows import BadRows

MAX_BYTES = 1 << 30  # unpacked; all of it is held, a pickle cannot be read in pieces
MAX_DEPTH = 8  # CuteGPT's dialogues have three levels
MAX_BITS = 64
BLOCK = 1 << 20
NUMBERS = frozenset({"BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "INT"})
TEXTS = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
NEW: dict[str, Callable[[], object]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict}


class UnsafePickleError(ValueError):
    """The pickle does something else than to describe lists, dictionaries, texts and numbers."""


def read_pickle_rows(path: Path, bad: BadRows) -> Iterator[tuple[int, Any]]:
    """Yield (1-based number, element) of a pickled list.

    Raises:
        InputError: the pickle is no list, is damaged or too large, or does more than describe data.
    """
    value = load_pickle(path)
    if not isinstance(value, list):
        raise InputError(
            f"{path} is a pickle of a {type(value).__name__}, not of a list of rows",
            why="CuteGPT's token ids (input_ids, labels) are not text"
            if isinstance(value, dict) and "input_ids" in value
            else "",
            fix=f"hanlin data inspect {path} shows what is in it",
        )
    for number, row in enumerate(value, 1):
        if is_text(row):
            yield number, row
        else:
            bad.add(str(path), number, HALF_CHARACTER)


def load_pickle(path: Path) -> object:
    """Return what a pickle file describes: lists, dictionaries, texts and whole numbers.

    Raises:
        InputError: it is damaged or too large, or does more than describe such data.
    """
    with opened(path) as stream:
        return load_pickle_stream(stream, where=str(path))


def load_pickle_stream(stream: BinaryIO, *, where: str) -> object:
    """Return what a stream's pickle describes; see `load_pickle`."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", _Limited(stream))):
            machine.step(opcode.name, argument)
        (value,) = machine.stack
    except UnsafePickleError as error:
        raise InputError(
            f"{where}: this pickle is refused, nothing in it was run",
            why=f"{error}; only lists, dictionaries, texts and whole numbers are read",
            fix="have its maker write JSON lines; a pickle from elsewhere can run any program",
        ) from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{where} is no sound pickle", why=f"{type(error).__name__}: {error}"
        ) from error
    return value


class _Limited:
    """A stream that gives at most 1 GB, and makes room only for what is there."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._at = stream, 0

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        parts, left = [], size
        while left > 0 and (part := self._count(self._stream.read(min(left, BLOCK)))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def readline(self) -> bytes:
        return self._count(self._stream.readline(BLOCK))

    def _count(self, data: bytes) -> bytes:
        self._at += len(data)
        if self._at > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 20} MB")
        return data


_MARK = object()


class _Machine:
    """The stack, what was made before, and how deep each list or dictionary is by now."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.depths: dict[int, int] = {}  # of what is on the stack, by identity

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401 - of the opcode's own type
        """Do what one opcode says."""
        if name in TEXTS or name in NUMBERS:
            if type(argument) not in (str, int):
                raise UnsafePickleError(f"it holds a {type(argument).__name__}")
            if isinstance(argument, int) and argument.bit_length() > MAX_BITS:
                raise UnsafePickleError(f"it holds a number of more than {MAX_BITS} bits")
            self.stack.append(argument)
        elif name in NEW:
            self._push(NEW[name]())
        elif name in PUTS:
            self.memory[len(self.memory) if argument is None else int(argument)] = self.stack[-1]
        elif name in GETS:
            self.stack.append(self._plain(self.memory[int(argument)]))
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name not in ("PROTO", "FRAME", "STOP"):
            self._build(name)

    def _build(self, name: str) -> None:
        """Fill a list or a dictionary."""
        if name in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if name == "SETITEM" else self._to_mark()
            self._fill_dict(self.stack[-1], items)
        elif name in ("APPEND", "APPENDS"):
            items = self._pop(1) if name == "APPEND" else self._to_mark()
            self._fill_list(self.stack[-1], items)
        elif name == "LIST":
            items = self._to_mark()
            self._fill_list(self._push([]), items)
        elif name == "DICT":
            items = self._to_mark()
            self._fill_dict(self._push({}), items)
        else:
            raise UnsafePickleError(f"it does {name}")

    def _push(self, value: Any) -> Any:  # noqa: ANN401 - a new list or dictionary
        self.stack.append(value)
        self.depths[id(value)] = 1
        return value

    def _fill_list(self, target: object, items: list[Any]) -> None:
        if not isinstance(target, list):
            raise TypeError(f"{type(target).__name__} in place of list")
        self._deepen(target, items)
        target.extend(items)

    def _fill_dict(self, target: object, items: list[Any]) -> None:
        if not isinstance(target, dict):
            raise TypeError(f"{type(target).__name__} in place of dict")
        self._deepen(target, items)
        target.update(zip(map(self._plain, items[::2]), items[1::2], strict=True))

    def _deepen(self, target: object, items: list[Any]) -> None:
        """Note how deep a container is now; what goes into it is never changed again."""
        if any(item is _MARK for item in items):
            raise ValueError("a mark in place of a value")
        below = max(
            (self.depths.pop(id(i)) for i in items if isinstance(i, list | dict)), default=0
        )
        self.depths[id(target)] = max(self.depths[id(target)], below + 1)
        if self.depths[id(target)] > MAX_DEPTH:
            raise UnsafePickleError(f"it is nested more than {MAX_DEPTH} deep")

    def _plain(self, value: Any) -> str | int:  # noqa: ANN401
        """Return a text or number; a list used twice could unfold without end."""
        if not isinstance(value, str | int):
            raise UnsafePickleError("it uses a list or dictionary twice, or as a key")
        return value

    def _pop(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("no mark on the stack")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items
