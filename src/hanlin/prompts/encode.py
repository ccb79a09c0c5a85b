"""How does a conversation become token ids and a loss mask?

Every part is encoded apart, so the mask covers exactly the answers and their end tokens, and the
ids of a prompt are always the beginning of the ids that were trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hanlin.core.records import Conversation, Message
from hanlin.prompts.format import PromptFormat, fill

LossOn = Literal["all", "last"]


class TextEncoder(Protocol):
    """The part of a tokenizer that prompts need."""

    @property
    def bos_id(self) -> int | None:
        """Return the id that begins a document, if there is one."""

    @property
    def eos_id(self) -> int:
        """Return the id that ends an answer."""

    def encode(self, text: str, *, at_start: bool) -> list[int]:
        """Return the ids of plain text, never special tokens; no dummy prefix unless at_start."""


@dataclass(frozen=True)
class EncodedConversation:
    """Token ids, and for each whether the loss counts it."""

    ids: list[int]
    trained: list[bool]


@dataclass(frozen=True)
class Segment:
    """A part that is encoded by itself: context, an answer, or (text None) a special token."""

    text: str | None
    answer: int | None = None  # index of the answer it belongs to


def render(
    messages: Sequence[Message], *, format: PromptFormat, opens_answer: bool
) -> list[Segment]:
    """Return the parts of a conversation in order.

    Args:
        messages: an optional system message first, then the turns.
        format: the prompt format.
        opens_answer: end with the words that open the next answer, as a prompt does.
    """
    segments: list[Segment] = []
    context = "" if _has_system(messages) else _default_system(format)
    number = 0
    for index, message in enumerate(messages):
        if message.role == "system":
            context += fill(format.system, message.content)
        elif message.role == "user":
            context += fill(format.user, message.content)
        else:
            segments.append(Segment(context + format.assistant))
            segments.append(Segment(fill(format.answer, message.content), number))
            is_last = index == len(messages) - 1 and not opens_answer
            if format.eos_after == "every" or is_last:
                segments.append(Segment(None, number))
            context, number = format.separator, number + 1
    if opens_answer:
        segments.append(Segment(context + format.assistant))
    return segments


def encode_conversation(
    conversation: Conversation,
    *,
    format: PromptFormat,
    tokenizer: TextEncoder,
    loss_on: LossOn = "all",
) -> EncodedConversation:
    """Return the ids of a conversation and its loss mask: the answers and their end tokens.

    Messages after the last answer are left out: nothing of them would be trained.
    """
    messages = _up_to_last_answer(conversation.messages)
    segments = render(messages, format=format, opens_answer=False)
    last = max((s.answer for s in segments if s.answer is not None), default=None)
    ids: list[int] = []
    trained: list[bool] = []
    for segment, part in _encode(segments, format, tokenizer):
        counts = segment.answer is not None and (loss_on == "all" or segment.answer == last)
        ids += part
        trained += [counts] * len(part)
    return EncodedConversation(ids, trained)


def encode_prompt(
    messages: Sequence[Message], *, format: PromptFormat, tokenizer: TextEncoder
) -> list[int]:
    """Return the ids up to where the next answer begins; training ids begin with the same ones."""
    segments = render(messages, format=format, opens_answer=True)
    return [id_ for _, part in _encode(segments, format, tokenizer) for id_ in part]


@dataclass(frozen=True)
class FittedConversation:
    """A conversation that fits: its ids and mask, and what was left of it.

    Attributes:
        encoded: ids and mask.
        messages: what was encoded.
        dropped_turns: how many of the oldest turns were dropped.
    """

    encoded: EncodedConversation
    messages: tuple[Message, ...]
    dropped_turns: int

    @property
    def text_bytes(self) -> int:
        """Return the UTF-8 bytes of the messages."""
        return sum(len(message.content.encode("utf-8", "replace")) for message in self.messages)


def fit_conversation(
    conversation: Conversation,
    *,
    format: PromptFormat,
    tokenizer: TextEncoder,
    seq_len: int,
    loss_on: LossOn = "all",
) -> FittedConversation | None:
    """Return the conversation with as many of its newest turns as fit into `seq_len` tokens.

    A turn is everything from one question to before the next one; the system message stays. An
    answer is never cut. None where even the last turn alone is too long.
    """
    turns = split_turns(_up_to_last_answer(conversation.messages))

    def without(dropped: int) -> FittedConversation:
        messages = (*turns[0], *(m for turn in turns[1 + dropped :] for m in turn))
        encoded = encode_conversation(
            Conversation(messages), format=format, tokenizer=tokenizer, loss_on=loss_on
        )
        return FittedConversation(encoded, messages, dropped)

    def fits(found: FittedConversation) -> bool:
        return len(found.encoded.ids) <= seq_len

    found, most = without(0), len(turns) - 2  # one turn is always kept
    low, high = 1, most
    if not fits(found) and most > 0:
        while low < high:  # find the smallest number that is enough
            middle = (low + high) // 2
            low, high = (low, middle) if fits(without(middle)) else (middle + 1, high)
        found = without(low)
    return found if fits(found) else None


def split_turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Return what stands before the first question (may be empty), then the turns."""
    turns: list[list[Message]] = [[]]
    for message in messages:
        opens = message.role == "user" and (len(turns) == 1 or turns[-1][-1].role != "user")
        if opens:
            turns.append([])
        turns[-1].append(message)
    return turns


def _has_system(messages: Sequence[Message]) -> bool:
    return any(message.role == "system" for message in messages)


def _default_system(format: PromptFormat) -> str:
    return fill(format.system, format.default_system) if format.default_system else ""


def _up_to_last_answer(messages: Sequence[Message]) -> tuple[Message, ...]:
    answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
    return tuple(messages[: answers[-1] + 1]) if answers else tuple(messages)


def _encode(
    segments: Sequence[Segment], format: PromptFormat, tokenizer: TextEncoder
) -> Iterator[tuple[Segment, list[int]]]:
    """Yield each segment with its ids; text that follows a special token begins anew.

    LLaMA's tokenizer puts its dummy space there, in `tokenizer.json` as in llama.cpp, so that a
    second turn is made of the same pieces as the first.
    """
    if format.is_bos_first and tokenizer.bos_id is not None:
        yield Segment(None), [tokenizer.bos_id]
    at_start = True
    for segment in segments:
        if segment.text is None:
            yield segment, [tokenizer.eos_id]
        elif segment.text:
            yield segment, tokenizer.encode(segment.text, at_start=at_start)
        at_start = segment.text is None
