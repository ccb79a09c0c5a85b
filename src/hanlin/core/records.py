"""The records that flow between packages. Frozen, plain, without behavior of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Span:
    """`[start, end)` in characters of the original text."""

    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """One text of a corpus.

    Attributes:
        text: the text itself.
        language: "zh", "en", ..., or None where unknown.
        source: file (or name) it came from.
        line: 1-based line or record number in the source.
    """

    text: str
    language: str | None = None
    source: str = ""
    line: int = 0


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Conversation:
    """Turns in order; `source` and `line` say where it came from."""

    messages: tuple[Message, ...]
    source: str = ""
    line: int = 0


@dataclass(frozen=True)
class Question:
    """A question with options, one of them right.

    Attributes:
        id: unique within its benchmark.
        question: the question's text.
        options: texts of the options, in order.
        answer: index of the right option, or None where the data set hides it.
        subject: name of the subject, for averaging.
        language: "zh", "en", ...
        answers: indices of the right options, where several are right together; `answer` is None.
        gold: the right text of a question without options (cloze).
        labels: disciplines of the question, where it has several.
    """

    id: str
    question: str
    options: tuple[str, ...]
    answer: int | None
    subject: str
    language: str
    answers: tuple[int, ...] = ()
    gold: str = ""
    labels: tuple[str, ...] = ()
