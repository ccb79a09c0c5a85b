"""Which turns of a conversation are kept where not all of them fit? Whole ones, by a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from hanlin.core.records import Conversation, Message
from hanlin.prompts.encode import (
    BatchEncoder,
    EncodedConversation,
    LossOn,
    TextEncoder,
    encode_conversation,
    encode_conversations,
    up_to_last_answer,
)
from hanlin.prompts.format import PromptFormat

Truncate = Literal["oldest", "keep-first", "refuse", "never"]


@dataclass(frozen=True)
class FittedConversation:
    """A conversation that fits: its ids and mask, and what was left of it.

    Attributes:
        encoded: ids and mask.
        messages: what was encoded.
        dropped_turns: how many turns were dropped.
    """

    encoded: EncodedConversation
    messages: tuple[Message, ...]
    dropped_turns: int

    @property
    def text_bytes(self) -> int:
        """Return the UTF-8 bytes of the messages."""
        return sum(len(message.content.encode("utf-8", "replace")) for message in self.messages)


@dataclass(frozen=True)
class Kept:
    """The messages that are kept, and how many turns were dropped."""

    messages: tuple[Message, ...]
    dropped_turns: int


def fit_conversation(
    conversation: Conversation,
    *,
    format: PromptFormat,
    tokenizer: TextEncoder,
    seq_len: int,
    loss_on: LossOn = "all",
    truncate: Truncate = "oldest",
) -> FittedConversation | None:
    """Return the conversation with as many turns as fit into `seq_len` tokens.

    None where even the least that may be kept is too long: an answer is never cut. For `truncate`
    see `fit_turns`; "never" takes the conversation however long it is.

    Raises:
        InputError: as `encode_conversation`.
    """

    def encode(messages: tuple[Message, ...]) -> EncodedConversation:
        shortened = replace(conversation, messages=messages)
        return encode_conversation(shortened, format=format, tokenizer=tokenizer, loss_on=loss_on)

    kept = fit_turns(
        up_to_last_answer(conversation.messages),
        size=lambda messages: len(encode(messages).ids),
        limit=seq_len,
        truncate=truncate,
    )
    if kept is None:
        return None
    return FittedConversation(encode(kept.messages), kept.messages, kept.dropped_turns)


def fit_conversations(
    conversations: Sequence[Conversation],
    *,
    format: PromptFormat,
    tokenizer: BatchEncoder,
    seq_len: int,
    loss_on: LossOn = "all",
    truncate: Truncate = "oldest",
) -> list[FittedConversation | None]:
    """Return what `fit_conversation` gives for each, several times as fast.

    Raises:
        InputError: as `encode_conversation`.
    """
    wholes = encode_conversations(
        conversations, format=format, tokenizer=tokenizer, loss_on=loss_on
    )
    shorten = partial(
        fit_conversation,
        format=format,
        tokenizer=tokenizer,
        seq_len=seq_len,
        loss_on=loss_on,
        truncate=truncate,
    )
    return [
        FittedConversation(whole, up_to_last_answer(conversation.messages), 0)
        if len(whole.ids) <= seq_len or truncate == "never"
        else shorten(conversation)
        for conversation, whole in zip(conversations, wholes, strict=True)
    ]


def fit_turns(
    messages: Sequence[Message],
    *,
    size: Callable[[tuple[Message, ...]], int],
    limit: int,
    truncate: Truncate = "oldest",
) -> Kept | None:
    """Drop the fewest turns that make a conversation fit.

    A turn is everything from one question to before the next one; the system message and the last
    turn always stay.

    Args:
        messages: the conversation.
        size: the tokens of messages; fewer turns must not have more.
        limit: the most tokens.
        truncate: "oldest" drops the oldest turns; "keep-first" the oldest behind the first, which
            often holds the task; "refuse" none, so that it fits or not; "never" none, and it is
            kept however long it is.

    Returns:
        What is kept; None where nothing that may be dropped is enough.
    """
    opening, *turns = split_turns(messages)
    stay = 1 if truncate == "keep-first" else 0

    def without(dropped: int) -> tuple[Message, ...]:
        kept = turns[:stay] + turns[stay + dropped :]
        return (*opening, *(message for turn in kept for message in turn))

    most = 0 if truncate in ("refuse", "never") else max(0, len(turns) - 1 - stay)
    if truncate == "never" or size(without(0)) <= limit:
        return Kept(without(0), 0)
    if not most or size(without(most)) > limit:
        return None
    low, high = 1, most
    while low < high:  # find the smallest number that is enough
        middle = (low + high) // 2
        if size(without(middle)) <= limit:
            high = middle
        else:
            low = middle + 1
    return Kept(without(low), low)


def split_turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Return what stands before the first question (may be empty), then the turns."""
    turns: list[list[Message]] = [[]]
    for message in messages:
        opens = message.role == "user" and (len(turns) == 1 or turns[-1][-1].role != "user")
        if opens:
            turns.append([])
        turns[-1].append(message)
    return turns
