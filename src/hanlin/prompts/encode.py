"""How does a conversation become token ids and a loss mask?

Every part is encoded apart, so the mask covers exactly the answers and their end tokens, and the
ids of a prompt are always the beginning of the ids that were trained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol, cast

from hanlin.core.errors import InputError
from hanlin.core.records import Conversation, Message
from hanlin.prompts.format import BOS, CONTENT, EOS, PromptFormat, fill
from hanlin.prompts.render import Segment, render

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

    def special_id(self, name: str) -> int | None:
        """Return the id of a special token, None where there is none of that name."""


class BatchEncoder(TextEncoder, Protocol):
    """A tokenizer that encodes many texts at once, faster than one by one."""

    @property
    def vocab_size(self) -> int:
        """Return how many ids there are."""

    def encode_batch(self, texts: Sequence[str], *, at_start: bool) -> list[list[int]]:
        """Return what `encode` gives for each text."""

    def bytes_of(self, token_id: int) -> bytes:
        """Return the bytes that one id stands for."""


@dataclass(frozen=True)
class EncodedConversation:
    """Token ids, and for each whether the loss counts it.

    Attributes:
        ids: the token ids.
        trained: for each whether the loss counts it.
        end_tokens: how many end tokens the loss counts.
    """

    ids: list[int]
    trained: list[bool]
    end_tokens: int = 0


def encode_conversation(
    conversation: Conversation,
    *,
    format: PromptFormat,
    tokenizer: TextEncoder,
    loss_on: LossOn = "all",
) -> EncodedConversation:
    """Return the ids of a conversation and its loss mask: the answers and their end tokens.

    Messages after the last trained answer are left out: nothing of them would be trained.

    Raises:
        InputError: the format has no place for its tool calls, or the tokenizer lacks a marker.
    """
    segments = _trained_segments(conversation, format)
    return _assemble(segments, _one_by_one(tokenizer), format, tokenizer, loss_on)


def encode_conversations(
    conversations: Sequence[Conversation],
    *,
    format: PromptFormat,
    tokenizer: BatchEncoder,
    loss_on: LossOn = "all",
) -> list[EncodedConversation]:
    """Return what `encode_conversation` gives for each, several times as fast.

    Raises:
        InputError: as `encode_conversation`.
    """
    scripts = [_trained_segments(conversation, format) for conversation in conversations]
    texts = (pair for segments in scripts for pair in _texts(segments))
    known = _all_at_once(texts, format, tokenizer)
    return [_assemble(segments, known, format, tokenizer, loss_on) for segments in scripts]


def encode_prompt(
    messages: Sequence[Message],
    *,
    format: PromptFormat,
    tokenizer: TextEncoder,
    tools: Sequence[str] = (),
) -> list[int]:
    """Return the ids up to where the next answer begins; training ids begin with the same ones.

    Args:
        messages: the conversation so far.
        format: the prompt format.
        tokenizer: its tokenizer.
        tools: the functions that the answer may call, each the text of a JSON object.

    Raises:
        InputError: the format has no place for tool calls, or the tokenizer lacks a marker.
    """
    segments = render(messages, format=format, opens_answer=True, tools=tools)
    return _assemble(segments, _one_by_one(tokenizer), format, tokenizer, "all").ids


def stop_ids(format: PromptFormat, tokenizer: TextEncoder) -> tuple[int, ...]:
    """Return the tokens that end a generated answer.

    Raises:
        InputError: the tokenizer lacks a marker.
    """
    pieces = format.pieces(format.end + format.final)
    ids = [_special_ids(name, format, tokenizer)[0] for _, name in pieces]
    return tuple(dict.fromkeys([*ids, tokenizer.eos_id]))


def up_to_last_answer(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages without those behind the last answer that is trained."""
    answers = [i for i, m in enumerate(messages) if m.role == "assistant" and m.is_trained]
    return tuple(messages[: answers[-1] + 1]) if answers else tuple(messages)


def _trained_segments(conversation: Conversation, format: PromptFormat) -> list[Segment]:
    messages = up_to_last_answer(conversation.messages)
    return render(messages, format=format, opens_answer=False, tools=conversation.tools)


def _texts(segments: Sequence[Segment]) -> Iterator[tuple[str, bool]]:
    """Yield the texts, and whether each begins anew: at the start and after a special token.

    LLaMA's tokenizer puts its dummy space there, in `tokenizer.json` as in llama.cpp, so that a
    second turn is made of the same pieces as the first.
    """
    at_start = True
    for segment in segments:
        if segment.special:
            at_start = True
        elif segment.text:
            yield segment.text, at_start
            at_start = False


Encode = Callable[[str, bool], list[int]]


def _one_by_one(tokenizer: TextEncoder) -> Encode:
    return lambda text, at_start: tokenizer.encode(text, at_start=at_start)


def _all_at_once(
    texts: Iterable[tuple[str, bool]], format: PromptFormat, tokenizer: BatchEncoder
) -> Encode:
    """Encode all texts, each once; return what looks them up.

    What stands before the first question is the same in most conversations and encoded once.
    """
    prefixes = [p for p in _prefixes(format) if _is_wall_behind(p, cast(Any, tokenizer))]
    found: dict[tuple[str, bool], list[int]] = {}
    keys = dict.fromkeys(texts)
    cuts = {key: cut for key in keys if (cut := _prefix_length(key[0], prefixes))}
    wholes = [key for key in keys if key not in cuts]
    heads = dict.fromkeys((key[0][:cut], key[1]) for key, cut in cuts.items())
    tails = dict.fromkeys((key[0][cut:], False) for key, cut in cuts.items())
    for begins in (True, False):
        some = [key for part in (wholes, heads, tails) for key in part if key[1] == begins]
        ids = tokenizer.encode_batch([text for text, _ in some], at_start=begins)
        found.update(zip(some, ids, strict=True))
    for (text, at_start), cut in cuts.items():
        found[text, at_start] = found[text[:cut], at_start] + found[text[cut:], False]
    return lambda text, at_start: found[text, at_start]


def _prefix_length(text: str, prefixes: Sequence[str]) -> int:
    """Return how much of a text is encoded by itself; 0 where white space would follow it."""
    for prefix in prefixes:
        length = len(prefix)
        if text.startswith(prefix) and text[length : length + 1].strip():
            return length
    return 0


def _prefixes(format: PromptFormat) -> list[str]:
    """Return what may stand before the text of a first question, the longest first."""
    systems = [
        fill(format.system, text) for text in (format.default_system, format.input_system) if text
    ]
    opening = format.user.partition(CONTENT)[0]
    found = [system + opening for system in systems] + systems
    return [text for text in found if text.endswith("\n") and not format.markers]


@lru_cache(maxsize=8)
def _has_lines_inside(tokenizer: Any) -> bool:  # noqa: ANN401 - hashable BatchEncoder
    pieces = map(tokenizer.bytes_of, range(tokenizer.vocab_size))
    return any(b"\n" in piece and re.search(rb"\n\S", piece) for piece in pieces)


@lru_cache(maxsize=64)
def _is_wall_behind(prefix: str, tokenizer: Any) -> bool:  # noqa: ANN401 - hashable BatchEncoder
    """Tell whether a text may be encoded in two parts, behind a prefix that ends with a line break.

    No piece may go on behind a line break with anything but white space, and how the prefix is cut
    may not depend on what kind of character follows (GPT-2's rule for white space does).
    """
    if _has_lines_inside(tokenizer):
        return False
    head = tokenizer.encode(prefix, at_start=True)
    return all(
        tokenizer.encode(prefix + tail, at_start=True)
        == head + tokenizer.encode(tail, at_start=False)
        for tail in ("A b", "1", "#", "中文", "🙂", "\u0301", "'s")
    )


def _assemble(
    segments: Sequence[Segment],
    encode: Encode,
    format: PromptFormat,
    tokenizer: TextEncoder,
    loss_on: LossOn,
) -> EncodedConversation:
    last = _last_answer(segments) if loss_on == "last" else None
    ids: list[int] = []
    trained: list[bool] = []
    end_tokens = 0
    if format.is_bos_first and tokenizer.bos_id is not None:
        ids.append(tokenizer.bos_id)
        trained.append(False)
    at_start = True  # as in `_texts`
    for text, answer, special in segments:
        counts = answer is not None and (last is None or answer == last)
        if special:
            part = _special_ids(special, format, tokenizer)
            end_tokens += counts
            at_start = True
        elif text:
            part = encode(text, at_start)
            at_start = False
        else:
            continue
        ids += part
        trained += [counts] * len(part)
    return EncodedConversation(ids, trained, end_tokens)


def _last_answer(segments: Sequence[Segment]) -> int | None:
    return max((s.answer for s in segments if s.answer is not None), default=None)


def _special_ids(name: str, format: PromptFormat, tokenizer: TextEncoder) -> list[int]:
    if name == EOS:
        return [tokenizer.eos_id]
    if name == BOS:
        return [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    found = tokenizer.special_id(name)
    if found is None:
        raise InputError(
            f"the prompt format {format.name!r} needs the special token {name!r}, which the "
            "tokenizer does not have",
            why="written as ordinary text, anyone could put it into a message",
            fix=f"hanlin tokenizer extend BASE --special '{name}' ... and hanlin model grow, or "
            "choose another prompt format",
        )
    return [found]
