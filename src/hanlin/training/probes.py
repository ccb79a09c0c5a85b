"""How well does the model that is being trained predict held-out text, in each language?"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hanlin.core.config import InputPath, StrictModel
from hanlin.core.errors import InputError

UNKNOWN_LANGUAGE = "text"  # name of the curve of texts that do not say their language


class ProbeTexts(StrictModel):
    """Texts that are never trained on."""

    texts: InputPath
    """A corpus file, or a folder of them."""
    documents: int = Field(default=32, ge=1)
    """The first so many texts of each language are measured."""


def read_probe_texts(config: ProbeTexts) -> dict[str, list[str]]:
    """Return the texts by language, languages in alphabetical order.

    Raises:
        InputError: nothing is there, or it holds no text.
    """
    from hanlin.data.readers import read_documents

    texts: dict[str, list[str]] = {}
    for document in read_documents(config.texts):
        held = texts.setdefault(document.language or UNKNOWN_LANGUAGE, [])
        if document.text and len(held) < config.documents:
            held.append(document.text)
    if not any(texts.values()):
        raise InputError(
            f"{Path(config.texts)} holds no text to probe",
            why="every text is empty",
            fix="give held-out texts, or leave the key `probe` out",
        )
    return {language: texts[language] for language in sorted(texts) if texts[language]}
