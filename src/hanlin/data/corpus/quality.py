"""Does a text repeat itself?

The rules and limits are Gopher's (Rae et al. 2021, https://arxiv.org/abs/2112.11446, table A1),
with two changes: shares are of words, not of characters; and where a script sets no spaces between
words, two characters count as one word, so that its n-grams are twice as long (a Chinese word has
1.6 characters on average).
"""

from __future__ import annotations

import numpy as np

from hanlin.data.corpus.shingles import Hashes, shingles, split_words

MAX_DOUBLED_LINES = 0.30  # of all lines
MAX_CHARACTERS_OF_DOUBLED_LINES = 0.20  # of all characters
MAX_TOP = {2: 0.20, 3: 0.18, 4: 0.16}  # n-gram -> share of words in the most frequent one
MAX_DOUBLED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # -> share in doubled ones
LEAST_WORDS = 50  # Gopher keeps no shorter text; in ours, every n-gram would be a large share


def repetition(text: str) -> str | None:
    """Return in which way a text repeats itself too much; None: it does not."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    seen: set[str] = set()
    doubled = [line for line in lines if line in seen or seen.add(line)]  # type: ignore[func-returns-value]
    if len(doubled) > MAX_DOUBLED_LINES * len(lines):
        return f"{len(doubled)} of {len(lines)} lines came before"
    characters = sum(map(len, doubled))
    if characters > MAX_CHARACTERS_OF_DOUBLED_LINES * len(text):
        return f"{characters / len(text):.0%} of the text are lines that came before"
    return _repeated_phrases(text)


def _repeated_phrases(text: str) -> str | None:
    words = split_words([text])
    total = len(words.hashes)
    if total < LEAST_WORDS:
        return None
    unit = 2 if words.is_single.mean() > 0.5 else 1
    for size, limit in MAX_TOP.items():
        hashes, _ = shingles(words, size * unit)
        share = _top_count(hashes) * size * unit / total
        if share > limit:
            return f"one phrase of {size} words is {share:.0%} of the text"
    for size, limit in MAX_DOUBLED.items():
        hashes, _ = shingles(words, size * unit)
        share = _covered(hashes, size * unit, total) / total
        if share > limit:
            return f"{share:.0%} of the text are phrases of {size} words that came before"
    return None


def _top_count(hashes: Hashes) -> int:
    """Return how often the most frequent n-gram stands in the text; 0 if none does twice."""
    count = int(np.unique(hashes, return_counts=True)[1].max())
    return count if count > 1 else 0


def _covered(hashes: Hashes, size: int, total: int) -> int:
    """Return how many words stand in n-grams that came before."""
    is_first = np.zeros(len(hashes), np.bool_)
    is_first[np.unique(hashes, return_index=True)[1]] = True
    starts = np.flatnonzero(~is_first)
    edges = np.zeros(total + 1, np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, np.minimum(starts + size, total), -1)
    return int((np.cumsum(edges[:-1]) > 0).sum())
