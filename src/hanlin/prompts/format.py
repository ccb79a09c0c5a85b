"""What is a prompt format? A few strings that say how a conversation becomes text.

Training, chat, evaluation and the tokenizer's `chat_template` are all derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CONTENT = "{content}"


@dataclass(frozen=True)
class PromptFormat:
    """A prompt format as data.

    A conversation is the system text, then for each turn the user's text, the words that open the
    answer, the answer and its end. `{content}` stands for a message; nothing else is replaced, so
    braces in templates and messages are plain text.

    Attributes:
        name: its name in the table.
        summary: one line for lists.
        user: template of a user message.
        assistant: the text that opens every answer; never trained.
        answer: template of the answer; trained. Where `assistant` does not end with a line break it
            should begin with a space, so that no tokenizer joins the two.
        system: template of a system message.
        default_system: content used where a conversation has no system message; "" for none.
        separator: text between an answer and the next turn; never trained.
        is_bos_first: begin with the tokenizer's bos token, if it has one.
        eos_after: which answers end with the (trained) eos token: every one, or only the last
            of the conversation, as in older chat formats.
        stop_strings: texts that a generated answer must stop at.
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
    eos_after: Literal["every", "last"] = "every"
    stop_strings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("user", "answer", "system"):
            count = getattr(self, field).count(CONTENT)
            if count != 1:
                raise ValueError(f"prompt format {self.name}: {field} has {count} times {CONTENT}")
        if not self.assistant:
            raise ValueError(f"prompt format {self.name}: assistant is empty")

    @property
    def has_exact_borders(self) -> bool:
        """Tell whether rendering to one string and encoding that gives the same token ids.

        Ids are always made from the parts. Pieces of a SentencePiece model do not reach over a line
        break or to the left of a space, so a border there changes nothing.
        """
        opens = self.assistant.endswith("\n") or self.answer.startswith((" ", "\n"))
        closes = self.eos_after == "every" or self.separator.startswith((" ", "\n"))
        return opens and closes

    def answer_text(self, generated: str) -> str:
        """Return the content of a generated answer: the template around it is taken away."""
        before, _, after = self.answer.partition(CONTENT)
        return generated.removeprefix(before).removesuffix(after)


def fill(template: str, content: str) -> str:
    """Put a message into a template."""
    before, _, after = template.partition(CONTENT)
    return before + content + after
