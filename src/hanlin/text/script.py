"""How does a language write: with spaces between its words, or without, and in which script?"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "km", "bo"})
# First words of Unicode names -> script, where the word is not the script's own name.
NAMED_OTHERWISE = {
    "CJK": "Han", "IDEOGRAPHIC": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana",
    "HALFWIDTH": "Kana", "FULLWIDTH": "Latin",
}  # fmt: skip
SCRIPTS = {
    "zh": ("Han",), "ja": ("Han", "Kana"), "ko": ("Hangul", "Han"), "ru": ("Cyrillic",),
    "uk": ("Cyrillic",), "bg": ("Cyrillic",), "sr": ("Cyrillic", "Latin"), "el": ("Greek",),
    "ar": ("Arabic",), "fa": ("Arabic",), "ur": ("Arabic",), "he": ("Hebrew",), "th": ("Thai",),
    "hi": ("Devanagari",), "mr": ("Devanagari",), "ne": ("Devanagari",), "bn": ("Bengali",),
    "ta": ("Tamil",), "te": ("Telugu",), "bo": ("Tibetan",), "km": ("Khmer",), "lo": ("Lao",),
    "my": ("Myanmar",), "ka": ("Georgian",), "hy": ("Armenian",), "am": ("Ethiopic",),
    "mn": ("Cyrillic", "Mongolian"), "ug": ("Arabic",), "kk": ("Cyrillic", "Arabic"),
}  # fmt: skip
SAMPLE = 2000  # characters that tell the script of a text
LEAST_KANA = 0.15  # of Han and kana together: Chinese holds a stray one, Japanese about a half


def has_word_spaces(language: str) -> bool:
    """Tell whether words of a language ("en", "zh", "zh-Hant") are set apart by spaces."""
    return language.lower().replace("_", "-").split("-")[0] not in UNSPACED


def main_script(text: str) -> str:
    """Return the script of most letters at the beginning of a text: "Han", "Latin", "Cyrillic".

    "Kana" stands for Japanese, "none" for a text without letters.
    """
    counts = Counter(map(_script, text[:SAMPLE]))
    del counts[""]
    if not counts:
        return "none"
    han, kana = counts["Han"], counts["Kana"]
    if kana > LEAST_KANA * (han + kana):
        counts["Kana"] = han + kana
        del counts["Han"]
    return max(counts, key=lambda script: (counts[script], script))


def language_share(text: str, language: str) -> float:
    """Return the share of the letters of a text that are of a language's script; 0 without letters.

    Three samples tell it: the beginning, the middle and the end. A language that is not known is
    taken to be written in Latin letters.
    """
    middle = max(0, len(text) // 2 - SAMPLE // 2)
    samples = (text[:SAMPLE], text[middle : middle + SAMPLE], text[-SAMPLE:])
    counts = Counter(map(_script, "".join(samples) if len(text) > 3 * SAMPLE else text))
    del counts[""]
    scripts = SCRIPTS.get(language.lower().replace("_", "-").split("-")[0], ("Latin",))
    return sum(counts[script] for script in scripts) / max(1, counts.total())


@lru_cache(maxsize=65536)
def _script(character: str) -> str:
    """Return the script of a letter, "" for any other character."""
    if not character.isalpha():
        return ""
    word = unicodedata.name(character, "OTHER").split()[0].partition("-")[0]
    return NAMED_OTHERWISE.get(word, word.capitalize())
