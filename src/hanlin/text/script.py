"""How does a language write: with spaces between its words, or without?"""

from __future__ import annotations

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "km", "bo"})


def has_word_spaces(language: str) -> bool:
    """Tell whether words of a language ("en", "zh", "zh-Hant") are set apart by spaces."""
    return language.lower().replace("_", "-").split("-")[0] not in UNSPACED
