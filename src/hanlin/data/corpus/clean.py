"""Which documents are kept, and with what text? Tidy newlines; no empty, short or doubled ones.

Everything beyond that is asked for in `Cleaning`. Nothing is left out without a count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hanlin.core.config import InputPath, StrictModel
from hanlin.core.records import Document
from hanlin.data.corpus.personal_data import Kind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Control characters, marks of direction and of byte order, spaces without width, half characters:
# nothing to read.
INVISIBLE = (
    "\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
)
# A character that replaces another, private ones, "锟斤拷" and "烫烫烫" (UTF-8 and empty memory
# read as GBK), and UTF-8 read as Latin-1 ("ä½\xa0å¥½").
GARBLED = "\ufffd|[\ue000-\uf8ff]|锟斤拷|烫烫烫|屯屯屯|[\u00c2-\u00ef][\x80-\xbf]+"
INVISIBLE_CHARACTERS, GARBLED_PARTS = re.compile(f"[{INVISIBLE}]"), re.compile(GARBLED)


class Cleaning(StrictModel):
    """What is done to documents before they become tokens, and which are left out."""

    normalize: Literal["none", "nfc", "nfkc"] = "none"
    """Unicode form. nfkc makes full-width letters, digits and punctuation ordinary ones: Chinese
    punctuation changes too."""

    max_garbled: float = Field(0.05, ge=0, le=1)
    """Documents with a larger share of unreadable characters are left out."""

    max_characters: int | None = Field(None, ge=1)
    """Longer documents are left out."""

    min_language_share: float | None = Field(None, ge=0, le=1)
    """Least share of the letters that must be of the script of the source's language."""

    drop_repetitive: bool = False
    """Leave out documents that repeat themselves, by the rules of Gopher (see `quality`)."""

    boilerplate_documents: int | None = Field(None, ge=2, le=255)
    """Lines that stand in at least so many documents of a source are removed."""

    near_duplicates: float | None = Field(None, gt=0, le=1)
    """Leave out a document whose n-grams are shared to this degree (Jaccard) with one before."""

    benchmarks: list[InputPath] = []
    """Files or folders of questions; a document that holds part of a question is left out."""

    mask: list[Kind] = []
    """Personal data that is replaced by its kind: [email], [phone], ..."""


@dataclass
class Dropped:
    """How many documents were left out, by reason.

    Attributes:
        empty: without text.
        short: shorter than min_characters.
        duplicate: the same text came before in the same source.
        other_language: the row names another language.
        long: longer than max_characters.
        garbled: unreadable characters.
        other_script: too few letters of the language's script.
        repetitive: repeats itself.
        near_duplicate: almost the same text came before in the same source.
        contaminated: holds part of a benchmark's question.
    """

    empty: int = 0
    short: int = 0
    duplicate: int = 0
    other_language: int = 0
    long: int = 0
    garbled: int = 0
    other_script: int = 0
    repetitive: int = 0
    near_duplicate: int = 0
    contaminated: int = 0

    def count(self, reason: str) -> None:
        """Count one document."""
        setattr(self, reason, getattr(self, reason) + 1)


def clean(
    documents: Iterable[Document],
    *,
    dropped: Dropped,
    min_characters: int = 1,
    drop_duplicates: bool = True,
) -> Iterator[Document]:
    """Yield the documents with tidy text; nothing inside of a line is changed.

    Args:
        documents: what a reader gives.
        dropped: counts what is left out.
        min_characters: shorter documents are left out.
        drop_duplicates: leave out a text that came before, exactly the same.
    """
    from hanlin.data.corpus.duplicates import digest

    seen: set[int] = set()
    for document in documents:
        text = tidy(document.text)
        number = digest(text.encode("utf-8", "replace")) if drop_duplicates else 0
        if not text:
            dropped.empty += 1
        elif len(text) < min_characters:
            dropped.short += 1
        elif drop_duplicates and number in seen:
            dropped.duplicate += 1
        else:
            seen.add(number)
            yield replace(document, text=text)


def tidy(text: str) -> str:
    """Return the text with line feeds only, and no white space around it or at the ends of lines.

    The white space that begins a paragraph's first line goes too, full-width spaces as well.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.removeprefix("\ufeff")
    return "\n".join([line.rstrip() for line in text.split("\n")]).strip()


def readable(text: str, *, form: str) -> tuple[str, float]:
    """Return a text without invisible characters, and the share of it that is garbled.

    Args:
        text: any text.
        form: "none", "nfc" or "nfkc".
    """
    import numpy as np

    if form != "none":
        text = unicodedata.normalize("NFC" if form == "nfc" else "NFKC", text)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    if not text or not _suspects().take(codes, mode="clip").any():  # ten times as fast as a search
        return text, 0.0
    garbled = sum(len(part) for part in GARBLED_PARTS.findall(text))
    return INVISIBLE_CHARACTERS.sub("", text), garbled / len(text)


@cache
def _suspects() -> npt.NDArray[np.bool_]:
    """Return which characters are invisible, or may be part of something garbled."""
    import numpy as np

    pattern = re.compile(f"[{INVISIBLE}\ufffd\ue000-\uf8ff锟烫屯\u00c2-\u00ef]")
    table = np.zeros(1 << 16, np.bool_)
    everything = "".join(map(chr, range(1 << 16)))
    table[[match.start() for match in pattern.finditer(everything)]] = True
    return table
