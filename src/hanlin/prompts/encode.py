"""How does a conversation become token ids and a loss mask?

Every part is encoded apart, so the mask covers exactly the answers and their end tokens, and the
ids of a prompt are always the beginning of the ids that were trained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

from hanlin.core.errors import InputError
from hanlin.core.records import Conversation, Message
from hanlin.prompts.format import BOS, CONTENT, EOS, PromptFormat, fill
from hanlin.prompts.render import Segment, render

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ids = npt.NDArray[np.int32]

LossOn = Literal["all", "last"]
P = TypeVar("P")


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

    def encode_arrays(self, texts: Sequence[str], *, at_start: bool) -> list[Ids]:
        """Return what `encode` gives for each text, in arrays."""

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


@dataclass(frozen=True)
class EncodedConversations:
    """Conversations as tokens, one behind another.

    Attributes:
        ids: [T] token ids of all of them.
        trained: [T] whether the loss counts it.
        lengths: [D] tokens of each.
        end_tokens: [D] end tokens of each that the loss counts.
    """

    ids: npt.NDArray[np.int32]
    trained: npt.NDArray[np.bool_]
    lengths: npt.NDArray[np.int64]
    end_tokens: npt.NDArray[np.int64]

    def each(self) -> list[EncodedConversation]:
        """Return them one by one."""
        ends = self.lengths.cumsum()
        return [
            EncodedConversation(
                self.ids[end - length : end].tolist(),
                self.trained[end - length : end].tolist(),
                int(count),
            )
            for end, length, count in zip(ends, self.lengths, self.end_tokens, strict=True)
        ]

    @staticmethod
    def joined(rows: Sequence[EncodedConversation]) -> EncodedConversations:
        """Return single ones together."""
        import numpy as np

        return EncodedConversations(
            np.fromiter(chain.from_iterable(row.ids for row in rows), np.int32),
            np.fromiter(chain.from_iterable(row.trained for row in rows), np.bool_),
            np.array([len(row.ids) for row in rows], np.int64),
            np.array([row.end_tokens for row in rows], np.int64),
        )


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
    return _assemble(segments, format, tokenizer, loss_on)


def encode_conversations(
    conversations: Sequence[Conversation],
    *,
    format: PromptFormat,
    tokenizer: BatchEncoder,
    loss_on: LossOn = "all",
) -> EncodedConversations:
    """Return what `encode_conversation` gives for each, several times as fast.

    Raises:
        InputError: as `encode_conversation`.
    """
    import numpy as np

    scripts = [_trained_segments(conversation, format) for conversation in conversations]
    texts = (pair for segments in scripts for pair in _texts(segments))
    encode = _all_at_once(texts, format, tokenizer)
    special = lru_cache(lambda name: [np.array(_special_ids(name, format, tokenizer), np.int32)])
    ids: list[Ids] = []
    counts: list[bool] = []
    parts: list[int] = []  # of each conversation
    end_tokens: list[int] = []
    for segments in scripts:
        before, ends = len(ids), 0
        for part, counted, is_end in _parts(segments, encode, special, _opening(format), loss_on):
            ids += part
            counts += [counted] * len(part)
            ends += is_end
        parts.append(len(ids) - before)
        end_tokens.append(ends)
    sizes = np.fromiter(map(len, ids), np.int64, len(ids))
    borders = np.concatenate([[0], np.cumsum(sizes)])[np.cumsum([0, *parts])]
    return EncodedConversations(
        np.concatenate([np.zeros(0, np.int32), *ids]),
        np.repeat(np.array(counts, np.bool_), sizes),
        np.diff(borders),
        np.array(end_tokens, np.int64),
    )


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
    return _assemble(segments, format, tokenizer, "all").ids


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


def _all_at_once(
    texts: Iterable[tuple[str, bool]], format: PromptFormat, tokenizer: BatchEncoder
) -> Callable[[str, bool], list[Ids]]:
    """Encode all texts, each once; return what looks them up, in parts.

    What stands before the first question is the same in most conversations and encoded once.
    """
    prefixes = [p for p in _prefixes(format) if _is_wall_behind(p, cast(Any, tokenizer))]
    found: dict[tuple[str, bool], list[Ids]] = {}
    keys = dict.fromkeys(texts)
    cuts = {key: cut for key in keys if (cut := _prefix_length(key[0], prefixes))}
    wholes = [key for key in keys if key not in cuts]
    heads = dict.fromkeys((key[0][:cut], key[1]) for key, cut in cuts.items())
    tails = dict.fromkeys((key[0][cut:], False) for key, cut in cuts.items())
    for begins in (True, False):
        some = [key for part in (wholes, heads, tails) for key in part if key[1] == begins]
        ids = tokenizer.encode_arrays([text for text, _ in some], at_start=begins)
        found.update((key, [part]) for key, part in zip(some, ids, strict=True))
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
    segments: Sequence[Segment], format: PromptFormat, tokenizer: TextEncoder, loss_on: LossOn
) -> EncodedConversation:
    ids: list[int] = []
    trained: list[bool] = []
    end_tokens = 0
    for part, counted, is_end in _parts(
        segments,
        lambda text, at_start: tokenizer.encode(text, at_start=at_start),
        lambda name: _special_ids(name, format, tokenizer),
        _opening(format),
        loss_on,
    ):
        ids += part
        trained += [counted] * len(part)
        end_tokens += is_end
    return EncodedConversation(ids, trained, end_tokens)


def _opening(format: PromptFormat) -> list[Segment]:
    """Return the begin token where the format has it before everything else."""
    return [Segment("", special=BOS)] if format.is_bos_first else []


def _parts(
    segments: Sequence[Segment],
    encode: Callable[[str, bool], list[P]],
    special_ids: Callable[[str], list[P]],
    opening: Sequence[Segment],
    loss_on: LossOn,
) -> Iterator[tuple[list[P], bool, bool]]:
    """Yield each part's ids, whether the loss counts it, and whether it is an end that counts."""
    last = _last_answer(segments) if loss_on == "last" else None
    for segment in opening:
        yield special_ids(segment.special), False, False
    at_start = True  # as in `_texts`
    for text, answer, special in segments:
        counted = answer is not None and (last is None or answer == last)
        if special:
            yield special_ids(special), counted, counted
            at_start = True
        elif text:
            yield encode(text, at_start), counted, False
            at_start = False


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
            fix=f"hanlin tokenizer extend BASE --special '{name}' --out NEW and hanlin model grow, "
            "or choose another prompt format",
        )
    return [found]
