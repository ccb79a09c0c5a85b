"""How is a row shown, so that one sees what the loss counts?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hanlin.core.records import Conversation, Document, Question
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.render import render

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

OPENS, CLOSES = "⟦", "⟧"  # around what the loss counts
END = "</s>"
SHOWN_CHARACTERS = 600  # of a text; conversations are shown as a whole
Sample = list[tuple[str, bool]]  # pieces of text, and whether the loss counts each


def sample_of(record: Any, format: PromptFormat) -> Sample:  # noqa: ANN401 - any of three records
    """Return a document, question or conversation as it would be trained."""
    if isinstance(record, Document):
        return _cut([(record.text + END, True)])
    if isinstance(record, Question):
        options = [f"{number}. {text}" for number, text in enumerate(record.options, 1)]
        right = [options[index] for index in (record.answer, *record.answers) if index is not None]
        answer = ", ".join(right) or record.gold or "hidden"
        asked = [text for text in (record.passage, record.question) if text]
        return [("\n".join([*asked, *options, f"-> {answer}  ({record.subject})"]), False)]
    return _conversation(record, format)


def sample_of_tokens(ids: Sequence[int], trained: Sequence[bool], tokenizer: Tokenizer) -> Sample:
    """Return token ids as text, cut where the loss begins or ends to count them."""
    pieces: Sample = []
    at = 0
    while at < len(ids):
        end = at
        while end < len(ids) and trained[end] == trained[at]:
            end += 1
        text = tokenizer.decode_continuation(ids[at:end])
        text += END if tokenizer.eos_id in ids[at:end] else ""
        pieces.append((text, bool(trained[at])))
        at = end
    return _cut(pieces)


def bracketed(sample: Sample) -> str:
    """Return a sample as one text with ⟦ ⟧ around what the loss counts."""
    return "".join(f"{OPENS}{text}{CLOSES}" if counts else text for text, counts in sample)


def _conversation(conversation: Conversation, format: PromptFormat) -> Sample:
    pieces: Sample = []
    for segment in render(
        conversation.messages, format=format, opens_answer=False, tools=conversation.tools
    ):
        text, counts = END if segment.text is None else segment.text, segment.answer is not None
        if pieces and pieces[-1][1] == counts:
            pieces[-1] = (pieces[-1][0] + text, counts)
        elif text:
            pieces.append((text, counts))
    return pieces


def _cut(sample: Sample) -> Sample:
    length = sum(len(text) for text, _ in sample)
    if length <= SHOWN_CHARACTERS:
        return sample
    left, kept = SHOWN_CHARACTERS, []
    for text, counts in sample:
        if left > 0:
            kept.append((text[:left], counts))
        left -= len(text)
    return [*kept, (f" ... ({length} characters)", False)]
