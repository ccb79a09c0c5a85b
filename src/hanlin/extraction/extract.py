"""What is in these texts? Ask a model, read its answers, find them in the texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from hanlin.extraction.align import align
from hanlin.extraction.facts import Extraction
from hanlin.extraction.parse import parse_answer
from hanlin.extraction.prompt import extraction_prompt
from hanlin.extraction.schema import Schema

S = TypeVar("S", contravariant=True)
Progress = Callable[[int, int, str], None]
BATCH_SIZE = 32  # texts that the engine is given at a time


class Answer(Protocol):
    """What is needed of an answer."""

    @property
    def text(self) -> str:
        """Return its text."""


class Generator(Protocol[S]):
    """What is needed of an engine; `hanlin.inference.engine.Engine` is one."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: S) -> Sequence[Answer]:
        """Return one answer for each prompt."""


def extract(
    texts: Sequence[str],
    *,
    schema: Schema,
    engine: Generator[S],
    prompt_ids: Callable[[str], list[int]],
    sampling: S,
    progress: Progress = lambda _done, _total, _text: None,
) -> list[Extraction]:
    """Return what a model finds in texts of one language; ids are the texts' numbers from 1.

    Args:
        texts: the texts.
        schema: types to look for.
        engine: generates.
        prompt_ids: turns a user's message into the ids of a prompt (see `hanlin.prompts`).
        sampling: how the engine chooses tokens and where it stops; handed on to it.
        progress: called with (done, total, text) after each batch.
    """
    given = [Extraction(str(number), text, schema.language) for number, text in enumerate(texts, 1)]
    return extract_each(
        given,
        schemas={schema.language: schema},
        engine=engine,
        prompt_ids=prompt_ids,
        sampling=sampling,
        progress=progress,
    )


def extract_each(
    given: Sequence[Extraction],
    *,
    schemas: Mapping[str, Schema],
    engine: Generator[S],
    prompt_ids: Callable[[str], list[int]],
    sampling: S,
    progress: Progress = lambda _done, _total, _text: None,
) -> list[Extraction]:
    """Do the same for texts of several languages; of `given` id, text and language are taken."""
    found: list[Extraction] = []
    for start in range(0, len(given), BATCH_SIZE):
        batch = given[start : start + BATCH_SIZE]
        prompts = [prompt_ids(extraction_prompt(one.text, schemas[one.language])) for one in batch]
        for one, answer in zip(batch, engine.generate(prompts, sampling), strict=True):
            parsed = parse_answer(answer.text, schemas[one.language])
            found.append(align(parsed, one.text, id=one.id, language=one.language))
        progress(len(found), len(given), "texts")
    return found
