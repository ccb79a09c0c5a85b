"""Which turns of a conversation are kept where not all of them fit? Whole ones, by a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from hanlin.core.records import Conversation, Message
from hanlin.prompts.encode import (
    BatchEncoder,
    EncodedConversation,
    EncodedConversations,
    LossOn,
    TextEncoder,
    encode_conversation,
    encode_conversations,
    up_to_last_answer,
)
from hanlin.prompts.format import PromptFormat

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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


@dataclass(frozen=True)
class FittedConversations:
    """What was left of C conversations.

    Attributes:
        encoded: those that fit, whole or shortened.
        is_kept: [C] whether it fits.
        dropped_turns: [C] how many turns were dropped.
        text_bytes: UTF-8 bytes of the messages that are kept.
    """

    encoded: EncodedConversations
    is_kept: npt.NDArray[np.bool_]
    dropped_turns: npt.NDArray[np.int64]
    text_bytes: int


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
) -> FittedConversations:
    """Return what `fit_conversation` gives for each, several times as fast.

    Raises:
        InputError: as `encode_conversation`.
    """
    import numpy as np

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
    is_kept = np.ones(len(conversations), np.bool_)
    dropped_turns = np.zeros(len(conversations), np.int64)
    kept = [up_to_last_answer(conversation.messages) for conversation in conversations]
    if truncate == "never" or wholes.lengths.max(initial=0) <= seq_len:
        return FittedConversations(wholes, is_kept, dropped_turns, _text_bytes(kept))
    rows = wholes.each()
    for index in np.flatnonzero(wholes.lengths > seq_len).tolist():
        shorter = shorten(conversations[index])
        if shorter is None:
            is_kept[index], kept[index] = False, ()
        else:
            rows[index], kept[index] = shorter.encoded, shorter.messages
            dropped_turns[index] = shorter.dropped_turns
    encoded = EncodedConversations.joined([rows[i] for i in np.flatnonzero(is_kept)])
    return FittedConversations(encoded, is_kept, dropped_turns, _text_bytes(kept))


def _text_bytes(kept: Sequence[Sequence[Message]]) -> int:
    texts = (message.content for messages in kept for message in messages)
    return len("".join(texts).encode("utf-8", "replace"))


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
