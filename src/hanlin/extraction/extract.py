"""What is in these texts? Ask a model, read its answers, find them in the texts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hanlin.extraction.align import align
from hanlin.extraction.facts import Extraction, Status
from hanlin.extraction.formats.answer_format import AnswerFormat, Asking, Question, merged
from hanlin.extraction.formats.lines import LINES
from hanlin.extraction.schema import Schema

S = TypeVar("S", bound=Hashable)
S_contra = TypeVar("S_contra", contravariant=True)
Progress = Callable[[int, int, str], None]
Prompts = Sequence[Sequence[int]]
DEFAULT = Asking()
BATCH_SIZE = 32  # texts that the engine is given at a time


class Answer(Protocol):
    """What is needed of an answer."""

    @property
    def text(self) -> str:
        """Return its text."""


class Generator(Protocol[S_contra]):
    """What is needed of an engine; `hanlin.inference.engine.Engine` is one."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: S_contra) -> Sequence[Answer]:
        """Return one answer for each prompt."""


@dataclass(frozen=True)
class Extractor(Generic[S]):
    """A model together with how it is asked, and what becomes of its answers.

    Attributes:
        engine: generates.
        prompt_ids: turns a user's message into the ids of a prompt (see `hanlin.prompts`).
        sampling: (question, text) -> how the engine chooses tokens and where it stops; handed on
            to it. Here a caller puts in a grammar (see `grammar`).
        schemas: language -> types to look for.
        form: in which form is asked and answered.
        asking: for what, and in which words.
        until: the last step that is tried to find a name in the text (see `ground`).
        generate_each: answers prompts at the same time where each has a sampling of its own.
    """

    engine: Generator[S]
    prompt_ids: Callable[[str], list[int]]
    sampling: Callable[[Question, str], S]
    schemas: Mapping[str, Schema]
    form: AnswerFormat = LINES
    asking: Asking = DEFAULT
    until: Status = "folded"
    generate_each: Callable[[Prompts, Sequence[S]], Sequence[Answer]] | None = None

    def batch(self, given: Sequence[Extraction]) -> list[Extraction]:
        """Return what is in some texts; of `given` id, text and language are taken."""
        asked = [
            (number, question)
            for number, one in enumerate(given)
            for question in self.form.ask(one.text, self.schemas[one.language], self.asking)
        ]
        answers = self._answers([(given[number].text, question) for number, question in asked])
        parts: list[list[tuple[Question, str]]] = [[] for _ in given]
        for (number, question), answer in zip(asked, answers, strict=True):
            parts[number].append((question, answer))
        return [self._found(one, own) for one, own in zip(given, parts, strict=True)]

    def _answers(self, asked: Sequence[tuple[str, Question]]) -> list[str]:
        """Return one answer for each question; those with the same sampling share a batch."""
        samplings = [self.sampling(question, text) for text, question in asked]
        if self.generate_each is not None:
            every = [self.prompt_ids(question.prompt) for _, question in asked]
            return [answer.text for answer in self.generate_each(every, samplings)]
        groups: dict[S, list[int]] = {}
        for number, sampling in enumerate(samplings):
            groups.setdefault(sampling, []).append(number)
        answers = [""] * len(asked)
        for sampling, numbers in groups.items():
            prompts = [self.prompt_ids(asked[number][1].prompt) for number in numbers]
            found = self.engine.generate(prompts, sampling)
            for number, answer in zip(numbers, found, strict=True):
                answers[number] = answer.text
        return answers

    def _found(self, one: Extraction, answers: Sequence[tuple[Question, str]]) -> Extraction:
        parsed = merged((question, self.form.read(text, question)) for question, text in answers)
        return align(parsed, one.text, id=one.id, language=one.language, until=self.until)

    def each(
        self, given: Sequence[Extraction], *, progress: Progress = lambda _done, _total, _text: None
    ) -> Iterator[Extraction]:
        """Yield what is in each text, batch by batch."""
        for start in range(0, len(given), BATCH_SIZE):
            yield from self.batch(given[start : start + BATCH_SIZE])
            progress(min(start + BATCH_SIZE, len(given)), len(given), "texts")


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
    extractor = Extractor(engine, prompt_ids, lambda _question, _text: sampling, schemas)
    return list(extractor.each(given, progress=progress))
