"""What is a prompt format? A few strings that say how a conversation becomes text.

Training, chat, evaluation and the tokenizer's `chat_template` are all derived from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

CONTENT = "{content}"
INPUT = "{input}"
SYSTEM = "{system}"
BOS = "{bos}"
EOS = "{eos}"
SLOTS = (CONTENT, INPUT, SYSTEM, "{tools}", "{name}", "{arguments}")

Piece = tuple[Literal["text", "slot", "special"], str]


@dataclass(frozen=True)
class ToolFormat:
    """How tools, calls and results look.

    Attributes:
        offer: what the system text says of the tools; `{tools}` stands for their JSON texts.
        is_offer_first: the offer stands before the system text, not behind it.
        between: text between two tools.
        call: one call in an answer; `{name}` and `{arguments}` (a JSON text). A line break stands
            between the answer's text and its calls.
        result: one result.
        turn: what stands around results.
        joins_results: results that follow one another share one turn, with line breaks between.
    """

    offer: str
    call: str
    turn: str
    result: str = CONTENT
    between: str = "\n"
    is_offer_first: bool = False
    joins_results: bool = False


@dataclass(frozen=True)
class PromptFormat:
    """A prompt format as data.

    A conversation is the system text, then for each turn the user's text, the words that open the
    answer, the answer and its end. `{content}` stands for a message, `{bos}` and `{eos}` for the
    tokenizer's begin and end tokens; nothing else is replaced, so braces in templates and messages
    are plain text.

    Attributes:
        name: its name in the table.
        summary: one line for lists.
        user: template of a user message; where it has `{system}`, the system text stands there.
        assistant: the text that opens every answer; never trained.
        answer: template of the answer; trained. Where `assistant` does not end with a line break it
            should begin with a space, so that no tokenizer joins the two.
        system: template of a system message.
        default_system: content used where a conversation has no system message; "" for none.
        separator: text between an answer and the next turn; never trained.
        is_bos_first: begin with the tokenizer's bos token, if it has one.
        end: what ends an answer; trained: `{eos}`, or a marker.
        eos_after: which answers `end` follows: every one, or only the last of the conversation, as
            in older chat formats.
        final: more that ends the last answer; trained.
        markers: texts in the templates that are special tokens of the tokenizer. The same text in
            a message stays plain text.
        stop_strings: texts that a generated answer must stop at.
        strips: white space around messages is taken away.
        input_user: template of a user message whose input the data keeps apart, `{content}` and
            `{input}`; "" joins the two by a line break.
        input_system: default system text of a conversation whose first question has such an input.
        tools: how tools look; None where the format has no place for them.
    """

    name: str
    summary: str
    user: str
    assistant: str
    answer: str = CONTENT
    system: str = CONTENT + "\n"
    default_system: str = ""
    separator: str = ""
    is_bos_first: bool = True
    end: str = EOS
    eos_after: Literal["every", "last"] = "every"
    final: str = ""
    markers: tuple[str, ...] = ()
    stop_strings: tuple[str, ...] = ()
    strips: bool = False
    input_user: str = ""
    input_system: str = ""
    tools: ToolFormat | None = None

    def __post_init__(self) -> None:
        for field in ("user", "answer", "system"):
            count = getattr(self, field).count(CONTENT)
            if count != 1:
                raise ValueError(f"prompt format {self.name}: {field} has {count} times {CONTENT}")
        for field in ("assistant", "end"):
            if not getattr(self, field):
                raise ValueError(f"prompt format {self.name}: {field} is empty")
        if any(kind != "special" for kind, _ in self.pieces(self.end + self.final)):
            raise ValueError(f"prompt format {self.name}: end is not made of special tokens")
        for field in ("answer", "system"):
            has_special = any(kind == "special" for kind, _ in self.pieces(getattr(self, field)))
            if has_special and (field == "answer" or SYSTEM in self.user):
                raise ValueError(f"prompt format {self.name}: a special token inside {field}")

    @property
    def has_exact_borders(self) -> bool:
        """Tell whether rendering to one string and encoding that gives the same token ids.

        Ids are always made from the parts. Pieces of a SentencePiece model do not reach over a line
        break or to the left of a space, so a border there changes nothing. (A byte-level tokenizer
        joins line breaks: there an answer that itself begins with one differs.)
        """
        opens = self.assistant.endswith("\n") or self.answer.startswith((" ", "\n"))
        closes = self.eos_after == "every" or self.separator.startswith((" ", "\n"))
        return opens and closes

    def answer_text(self, generated: str) -> str:
        """Return the content of a generated answer: the template around it is taken away."""
        before, _, after = self.answer.partition(CONTENT)
        return generated.removeprefix(before).removesuffix(after)

    def pieces(self, template: str) -> tuple[Piece, ...]:
        """Return the texts, slots and special tokens of a template, in order."""
        return pieces(template, self.markers)


def fill(template: str, content: str) -> str:
    """Put a message into a template."""
    before, _, after = template.partition(CONTENT)
    return before + content + after


@lru_cache(maxsize=1000)
def pieces(template: str, markers: tuple[str, ...] = ()) -> tuple[Piece, ...]:
    """Return the texts, slots and special tokens of a template, in order."""
    return tuple(_cut(template, markers))


def _cut(template: str, markers: tuple[str, ...]) -> Iterator[Piece]:
    specials = (BOS, EOS, *markers)
    names = sorted((*SLOTS, *specials), key=len, reverse=True)
    for part in re.split(f"({'|'.join(map(re.escape, names))})", template):
        if part in specials:
            yield "special", part
        elif part in SLOTS:
            yield "slot", part
        elif part:
            yield "text", part
