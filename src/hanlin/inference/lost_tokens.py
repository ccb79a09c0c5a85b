"""Which tokens did llama.cpp not report while it streamed? Those that end within a character.

Its stream has the id of the token that completes a character, the text of all, and how many tokens
there were. What lies between is found from the bytes, where there is one way only.
"""

from __future__ import annotations

from collections.abc import Iterator

from hanlin.inference.text_stream import REPLACEMENT
from hanlin.tokenization.load import Tokenizer


class LostTokens:
    """Finds the tokens of one tokenizer.

    Args:
        tokenizer: the model's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bytes_of = tokenizer.bytes_of
        self._ids: dict[bytes, list[int]] = {}
        for token in range(tokenizer.vocab_size):
            data = tokenizer.bytes_of(token)
            if data and not _is_text(data):
                self._ids.setdefault(data, []).append(token)
        self._longest = max(map(len, self._ids), default=0)

    def find(self, text: str, *, last: int, count: int) -> list[int] | None:
        """Return the tokens before the last one of a text.

        Args:
            text: what all of them say.
            last: the token that was reported.
            count: how many were not.

        Returns:
            None where the bytes are not known (the text has U+FFFD), or can be cut in several ways.
        """
        data, end = text.encode("utf-8", "replace"), self._bytes_of(last)
        if REPLACEMENT in text or not data.endswith(end):
            return None
        found = self._cuts(data[: len(data) - len(end)], b"", count)
        first, second = next(found, None), next(found, None)
        return first if second is None else None

    def _cuts(self, data: bytes, before: bytes, count: int) -> Iterator[list[int]]:
        """Yield every way to make the bytes of so many tokens, none of which ends a character."""
        if count == 0:
            if not data:
                yield []
            return
        for length in range(1, min(self._longest, len(data)) + 1):
            head = data[:length]
            if head in self._ids and not _is_text(before + head):
                for token in self._ids[head]:
                    for rest in self._cuts(data[length:], before + head, count - 1):
                        yield [token, *rest]


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
