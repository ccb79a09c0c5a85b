"""How do conversations become tokens and a loss mask, many at a time, in any process?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hanlin.core.records import Conversation
from hanlin.prompts.encode import EncodedConversations, LossOn
from hanlin.prompts.fit import Truncate, fit_conversations
from hanlin.prompts.formats import get_format
from hanlin.prompts.render import unsupported
from hanlin.tokenization.load import Tokenizer, load


@dataclass(frozen=True)
class Settings:
    """What every process needs to know; the fields are those of `prepare_chat.Config`."""

    tokenizer: str
    prompt: str
    seq_len: int
    loss_on: LossOn
    truncate: Truncate


@dataclass(frozen=True)
class EncodedChats:
    """Conversations as tokens, one behind another.

    Attributes:
        rows: those that fit.
        text_bytes: UTF-8 bytes of their texts.
        counts: end_tokens, shortened, dropped_turns and too_long, see `prepare_chat.Fitted`.
        refused: source, line and reason of each that the prompt format cannot hold.
    """

    rows: EncodedConversations
    text_bytes: int
    counts: Counter[str]
    refused: list[tuple[str, int, str]]


class ChatEncoder:
    """Encodes batches; the result depends on nothing but the batch and the settings.

    Args:
        settings: what to do.
        tokenizer: the one that the settings name, where it is loaded already.
    """

    def __init__(self, settings: Settings, *, tokenizer: Tokenizer | None = None) -> None:
        self.settings, self.format = settings, get_format(settings.prompt)
        self.tokenizer = tokenizer or load(settings.tokenizer)

    def __call__(self, conversations: Sequence[Conversation]) -> EncodedChats:
        """Return what became of a batch."""
        usable, refused = [], []
        for conversation in conversations:
            if reason := self._why_not(conversation):
                refused.append((conversation.source, conversation.line, reason))
            else:
                usable.append(conversation)
        fitted = fit_conversations(
            usable,
            format=self.format,
            tokenizer=self.tokenizer,
            seq_len=self.settings.seq_len,
            loss_on=self.settings.loss_on,
            truncate=self.settings.truncate,
        )
        counts = Counter(
            end_tokens=int(fitted.encoded.end_tokens.sum()),
            shortened=int((fitted.dropped_turns > 0).sum()),
            dropped_turns=int(fitted.dropped_turns.sum()),
            too_long=int((~fitted.is_kept).sum()),
        )
        return EncodedChats(fitted.encoded, fitted.text_bytes, counts, refused)

    def _why_not(self, conversation: Conversation) -> str:
        if not any([m.role == "assistant" and m.is_trained for m in conversation.messages]):
            return "no answer in it is to be trained"
        return unsupported(conversation, self.format)
