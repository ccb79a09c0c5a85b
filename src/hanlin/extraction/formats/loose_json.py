"""What does a model's JSON say, with all the mistakes that models make? Never by `eval`."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from hanlin.core.extras import require

LONGEST_LITERAL = 100_000  # characters of a Python literal: what is longer is repaired as JSON


def read_value(text: str) -> tuple[object, bool]:
    """Return the JSON (or Python literal) in a text, and whether it was right as it stands.

    Single quotes, trailing commas, a fence around it, an end that is missing: all are mended by
    json_repair. Nothing at all is None.

    Raises:
        MissingExtraError: json_repair is not installed.
    """
    repair = require("json_repair", extra="extract", purpose="reading JSON that a model wrote")
    value, is_right = _read(text.strip(), repair)
    return (_whole(value) if "\\" in text else value), is_right


def _read(text: str, repair: ModuleType) -> tuple[object, bool]:
    try:
        return json.loads(text), True
    except (ValueError, RecursionError):
        pass
    if text[:1] in ("{", "[", "(") and len(text) < LONGEST_LITERAL:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # of odd escapes in the answer
                return ast.literal_eval(text), True
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            pass
    try:
        value = repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None, False
    return (None if value == "" else value), False


def _whole(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace halves of characters that escapes have made: no file can hold them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, (list, tuple)) else value


def texts_of(value: object) -> Iterator[str]:
    """Yield the texts in what should be a text or a list of texts; numbers are texts too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_of(item) if not isinstance(item, (list, tuple)) else ()


def shown(value: object) -> str:
    """Return a value as it is kept where it could not be used."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        return str(type(value).__name__)
