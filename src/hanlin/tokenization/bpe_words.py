"""Which words does a byte-level BPE cut texts into, how often, and into which tokens each?"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable
from zlib import crc32

from hanlin.tokenization import backend
from hanlin.tokenization.load import Tokenizer

log = logging.getLogger(__name__)

MOST_SYMBOLS = 20_000_000  # in all different words: about 1 GB while pairs are counted
WORDS_AT_ONCE = 10_000
# In the byte alphabet of GPT-2 a word with one of these holds more than ASCII.
NOT_ASCII = re.compile("[\u00a1-\u00ff\u0122-\u0143]")


def count_words(
    base: Tokenizer,
    texts: Iterable[str],
    *,
    is_ascii_wanted: bool = False,
    most_symbols: int = MOST_SYMBOLS,
) -> Counter[str]:
    """Count the words that a base cuts texts into, in the byte alphabet of its vocabulary.

    Args:
        base: a byte-level BPE.
        texts: streamed.
        is_ascii_wanted: count words without any foreign byte as well.
        most_symbols: bytes of all different words; of more, an even sample is kept: those words
            whose checksum is low, so that it depends on no order and counts stay exact.
    """
    splitter = backend.build(backend.plain(base.content, with_prefix=False))
    words: Counter[str] = Counter()
    symbols, limit = 0, 1 << 32
    for text in texts:
        normalized = splitter.normalizer.normalize_str(text) if splitter.normalizer else text
        for word, _ in splitter.pre_tokenizer.pre_tokenize_str(normalized):
            if not (is_ascii_wanted or NOT_ASCII.search(word)) or crc32(word.encode()) >= limit:
                continue
            if word not in words:
                symbols += len(word)
            words[word] += 1
        while symbols > most_symbols:
            limit //= 2
            words = Counter({w: n for w, n in words.items() if crc32(w.encode()) < limit})
            symbols = sum(map(len, words))
    if limit < 1 << 32:
        log.info("pairs are counted in one word of %d", (1 << 32) // limit)
    return words


def encode_words(base: Tokenizer, words: Counter[str]) -> tuple[list[list[int]], list[int]]:
    """Return the ids of every word, as the base merges it, and its count."""
    content = backend.plain(base.content, with_prefix=False)
    tokenizer = backend.build(content | {"normalizer": None, "pre_tokenizer": None})
    texts = list(words)
    ids = [
        encoding.ids
        for start in range(0, len(texts), WORDS_AT_ONCE)
        for encoding in tokenizer.encode_batch_fast(texts[start : start + WORDS_AT_ONCE])
    ]
    return ids, list(words.values())
