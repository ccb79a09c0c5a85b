"""What counts as a mention of an entity, and as a fact that a text tells?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["sentence", "topic", "text"]


@dataclass(frozen=True)
class Rules:
    """What counts as a mention and as a told fact.

    Attributes:
        shortest: characters of the shortest alias, in Han (or kana) and in other scripts.
        scope: how near head and tail are: in one sentence; or anywhere, where the head is what the
            text begins with; or anywhere.
        least_share: share of a relation's facts below which a pair of types is taken for an error.
        inverse: whether a fact also tells the inverse relation, where one is declared.
    """

    shortest: tuple[int, int] = (2, 2)
    scope: Scope = "text"
    least_share: float = 0.002
    inverse: bool = True
