"""How do token bytes become text that can be shown at once? Whole characters only.

A Chinese character may be spread over three byte tokens, a stop string over several pieces:
whatever is not certain yet is held back until it is.
"""

from __future__ import annotations

import codecs
import copy
from collections.abc import Sequence

REPLACEMENT = "\ufffd"


class TextStream:
    """Decodes UTF-8 piece by piece and ends before the stop string that is complete first.

    Bytes that no later byte can make a character of are left out, and so is U+FFFD itself, the
    mark that some other program left where it lost a character. The text is the same however the
    bytes are cut.

    Args:
        stop: strings that end the text; they are not part of it.

    Attributes:
        stopped_by: the stop string that was met, or None.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stopped_by: str | None = None
        self._stop = tuple(text for text in stop if text)
        self._decoder = _decoder()
        self._held = ""

    def push(self, data: bytes) -> str:
        """Take the bytes of one more token; return the text that is certain now."""
        if self.stopped_by is not None:
            return ""
        self._held += self._decoder.decode(data).replace(REPLACEMENT, "")
        if self._met_stop():
            return self._take(len(self._held))
        return self._take(len(self._held) - self._open_stop_length())

    def copy(self) -> TextStream:
        """Return a stream that goes on from here by itself."""
        other = copy.copy(self)
        other._decoder = _decoder()
        other._decoder.setstate(self._decoder.getstate())
        return other

    def finish(self) -> str:
        """Return what was held back; an incomplete character is left out."""
        return self._take(len(self._held))

    def _met_stop(self) -> bool:
        """Cut the held text before the stop string that is complete first (of two, the longer)."""
        starts = {text: self._held.find(text) for text in self._stop if text in self._held}
        if not starts:
            return False
        self.stopped_by = min(starts, key=lambda text: (starts[text] + len(text), starts[text]))
        self._held = self._held[: starts[self.stopped_by]]
        return True

    def _open_stop_length(self) -> int:
        """Return how many characters at the end may be the beginning of a stop string."""
        longest = max((len(text) for text in self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(text.startswith(tail) for text in self._stop):
                return length
        return 0

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return taken


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="ignore")
