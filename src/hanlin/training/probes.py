"""How well does the model that is being trained predict held-out text, in each language?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hanlin.core.config import InputPath, StrictModel
from hanlin.core.errors import InputError

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

UNKNOWN_LANGUAGE = "text"  # name of the curve of texts that do not say their language
OPENING = 12  # tokens of a text that the model is given to go on from


class ProbeTexts(StrictModel):
    """Texts that are never trained on."""

    texts: InputPath
    """A corpus file, or a folder of them."""
    documents: int = Field(default=32, ge=1)
    """The first so many texts of each language are measured."""
    samples: int = Field(default=1, ge=0)
    """The first so many texts of each language, their first words, are gone on with."""
    sample_tokens: int = Field(default=16, ge=1)
    """Tokens of such a sample."""


@dataclass(frozen=True)
class Sample:
    """What the model made of the beginning of a text."""

    language: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Probed:
    """What a probe found.

    Attributes:
        bits_per_byte: by language.
        samples: how the model goes on with held-out texts.
    """

    bits_per_byte: Mapping[str, float]
    samples: Sequence[Sample] = ()


Probe = Callable[[Any], Probed]


def make_probe(config: ProbeTexts, tokenizer: Tokenizer, *, seq_len: int) -> Probe:
    """Return what measures a model, and changes nothing in it.

    Raises:
        InputError: nothing is there, or it holds no text.
    """
    from hanlin.models.text_loss import measure
    from hanlin.training.answers import continued

    texts = read_probe_texts(config)

    def sample(model: Any, language: str, text: str) -> Sample:  # noqa: ANN401
        ids = tokenizer.encode(text, at_start=True)[:OPENING]
        begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        model = getattr(model, "get_base_model", lambda: model)()
        found = continued(
            model, [*begin, *ids], limit=config.sample_tokens, ends=[tokenizer.eos_id]
        )
        return Sample(language, tokenizer.decode(ids), tokenizer.decode(found))

    def probe(model: Any) -> Probed:  # noqa: ANN401
        values = measure(model, texts=texts, tokenizer=tokenizer, seq_len=seq_len)
        openings = [(name, text) for name, own in texts.items() for text in own[: config.samples]]
        return Probed(values, [sample(model, name, text) for name, text in openings])

    return probe


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
