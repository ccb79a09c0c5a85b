"""The records that flow between packages. Frozen, plain, without behavior of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


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
class ToolCall:
    """A function that an answer calls; `arguments` is the text of a JSON object."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks; "tool" for what a called function gave back.
        content: the text.
        is_trained: whether the loss counts it, where it is an answer.
        tool_calls: the functions that an answer calls.
        input_at: where in the content an input begins that the data keeps apart from the
            instruction, after the line break that joins them; the text is the same without it.
    """

    role: Role
    content: str
    is_trained: bool = True
    tool_calls: tuple[ToolCall, ...] = ()
    input_at: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Conversation:
    """Turns in order; `source` and `line` say where it came from.

    `tools` are the functions that answers may call, each the text of a JSON object.
    """

    messages: tuple[Message, ...]
    source: str = ""
    line: int = 0
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grammar:
    """What a generated text must look like.

    Attributes:
        kind: how `text` says it.
        text: a JSON schema; a grammar in llguidance's dialect of Lark, begun at `start`; a regular
            expression for the whole text; or a JSON list of the texts to choose from.
    """

    kind: Literal["json_schema", "lark", "regex", "choice"]
    text: str


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
        passage: a text that the question is about, "" for none.
        explanation: why the answer is right, "" where the data set does not say.
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
    passage: str = ""
    explanation: str = ""
