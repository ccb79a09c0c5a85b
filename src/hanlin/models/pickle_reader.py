"""What does a pickle of `torch.save` describe, when nothing in it may be executed?

A pickle is a program for a small machine with a stack, that names functions and calls them. This
machine has no way to import or to call: the few names that a dictionary of tensors needs stand for
descriptions, everything else that a pickle names or does is refused.
(Opcodes: Python's pickletools. What torch writes: torch/_utils.py, torch/serialization.py.)
"""

from __future__ import annotations

import os
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any, BinaryIO, cast

from hanlin.models.tensor_spec import DTYPES

STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "UntypedStorage": "U8",
}  # fmt: skip
TORCH_DTYPES = {torch_name: dtype for dtype, (torch_name, _) in DTYPES.items()}
VALUES = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
})  # fmt: skip
NEW: dict[str, Callable[[], object]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class UnsafePickleError(ValueError):
    """The pickle names something that is no part of a dictionary of tensors."""


@dataclass(frozen=True)
class Storage:
    """The bytes that one or several tensors look at: its key in the file, type and elements."""

    key: str
    dtype: str
    count: int

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all elements."""
        return self.count * DTYPES[self.dtype][1]


@dataclass(frozen=True)
class View:
    """A tensor: what it shows of a storage; offset and strides are counted in elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Type:
    """A type of elements that a pickle names."""

    dtype: str


@dataclass(frozen=True)
class _Function:
    """A function that a pickle names; `describe` tells what a call of it would make."""

    describe: Callable[..., object]


def read_pickle(stream: BinaryIO) -> tuple[Any, dict[str, Storage]]:
    """Return what one pickle describes, and all storages that it refers to, by their keys.

    Args:
        stream: at its start; afterwards behind its end. Of dictionaries, lists, tuples, numbers and
            texts it makes the same, of tensors a `View`.

    Raises:
        UnsafePickleError: it names a function or class that makes something else.
        ValueError: it is damaged, or does what a dictionary of tensors does not need.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", _Clamped(stream))):
            machine.step(opcode.name, argument)
        return machine.stack.pop(), machine.storages
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no sound pickle ({type(error).__name__}: {error})") from error


class _Clamped:
    """A stream that reads no further than its end, whatever length a damaged file asks for.

    A file makes room for all that is asked of it before it reads.
    """

    def __init__(self, stream: BinaryIO) -> None:
        start = stream.tell()
        self._left = stream.seek(0, os.SEEK_END) - start
        stream.seek(start)
        self._stream = stream

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int) -> bytes:
        return self._count(self._stream.read(min(size, self._left)))

    def readline(self) -> bytes:
        return self._count(self._stream.readline())

    def _count(self, data: bytes) -> bytes:
        self._left -= len(data)
        return data


_MARK = object()


class _Machine:
    """The stack and the memory of what was made before."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401 - of the opcode's own type
        """Do what one opcode says."""
        if name in VALUES:
            self.stack.append(argument)
        elif name in NEW:
            self.stack.append(NEW[name]())
        elif name in TUPLES:
            count = TUPLES[name]
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "TUPLE":
            self.stack.append(tuple(self._to_mark()))
        elif "PUT" in name or name == "MEMOIZE":
            self.memory[len(self.memory) if argument is None else argument] = self.stack[-1]
        elif "GET" in name:
            self.stack.append(self.memory[argument])
        elif name not in ("PROTO", "FRAME", "STOP"):
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """Do what an opcode says that fills, names or calls something."""
        if name in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if name == "SETITEM" else self._to_mark()
            self._top(dict).update(zip(items[::2], items[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            items = self._pop(1) if name == "APPEND" else self._to_mark()
            self._top(list).extend(items)
        elif name == "GLOBAL":
            self.stack.append(_named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            self.stack.append(_named(*self._pop(2)))
        elif name == "BINPERSID":
            storage = _storage(*self._pop(1))
            self.stack.append(self.storages.setdefault(storage.key, storage))
        elif name == "REDUCE":
            function, arguments = self._pop(2)
            self.stack.append(function.describe(*arguments))
        elif name == "BUILD":
            self._pop(1)  # attributes of a dictionary, such as `_metadata` of a state dict
            self._top(dict)
        else:
            raise ValueError(f"it does {name}, which a dictionary of tensors does not need")

    def _pop(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _to_mark(self) -> list[Any]:
        at = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _top(self, kind: type) -> Any:  # noqa: ANN401 - of that kind
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"{type(self.stack[-1]).__name__} in place of {kind.__name__}")
        return self.stack[-1]


def _storage(reference: tuple[Any, ...]) -> Storage:
    """Describe a storage: ("storage", type, key, device, elements), older files have one more."""
    kind, element, key, _device, count = reference[:5]
    if kind != "storage" or not isinstance(count, int) or count < 0 or reference[5:] not in (
        (), (None,),
    ):  # fmt: skip
        raise ValueError(f"it refers to {reference!r}, which is no storage")
    return Storage(str(key), element.dtype, count)


def _view(  # the arguments of torch._utils._rebuild_tensor_v2
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    _requires_grad: bool = False,
    _hooks: object = None,
    metadata: object = None,
) -> View:
    numbers = (offset, *shape, *strides)
    if not all(type(n) is int and n >= 0 for n in numbers) or len(shape) != len(strides):
        raise ValueError(f"it has a tensor of the shape {shape!r} with the strides {strides!r}")
    if metadata:
        raise ValueError(f"it has a tensor with {metadata!r}, which is not supported")
    return View(storage, storage.dtype, offset, tuple(shape), tuple(strides))


def _typed_view(*arguments: Any) -> View:  # noqa: ANN401 - of torch._utils._rebuild_tensor_v3
    return replace(_view(*arguments[:6], *arguments[7:8]), dtype=arguments[6].dtype)


FUNCTIONS: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): lambda pairs=(): dict(pairs),
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _view,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_view,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
}


def _named(module: str, name: str) -> _Type | _Function:
    """Return what a name stands for."""
    if (module, name) in FUNCTIONS:
        return _Function(FUNCTIONS[module, name])
    if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
        return _Type(STORAGES[name])
    if module == "torch" and name in TORCH_DTYPES:
        return _Type(TORCH_DTYPES[name])
    raise UnsafePickleError(f"{module}.{name}")
