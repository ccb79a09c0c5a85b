"""How are texts made comparable without losing the place of any character?"""

from __future__ import annotations

import unicodedata
from functools import lru_cache


def fold_width(text: str) -> str:
    """Turn full-width and half-width forms into ordinary ones: `Ａ` to `A`, `　` to a space.

    Every character gives exactly one: a span of the folded text is the same span of the original.
    """
    return "".join(map(_fold, text))


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    tag, _, code = unicodedata.decomposition(character).partition(" ")
    return chr(int(code, 16)) if tag in ("<wide>", "<narrow>") and " " not in code else character
