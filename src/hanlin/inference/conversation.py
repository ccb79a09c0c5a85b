"""How does a conversation with a model go on, turn after turn, in the prompt it was trained with?

talk = Talk(engine, format=prompt_format(engine), sampling=Sampling())
for text in talk.ask("谁写了这本书？"):
    ...
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hanlin.core.errors import InputError
from hanlin.core.records import Message
from hanlin.inference.engine import Engine, Sampling
from hanlin.prompts.encode import encode_prompt, stop_ids
from hanlin.prompts.fit import Truncate, fit_turns, split_turns
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import check_probe

if TYPE_CHECKING:
    from hanlin.prompts.encode import TextEncoder

log = logging.getLogger(__name__)
DEFAULT_FORMAT = "plain"


def prompt_format(
    engine: Engine, *, name: str | None = None, default: str = DEFAULT_FORMAT
) -> PromptFormat:
    """Return the prompt format of a model.

    Args:
        engine: the model; its manifest names the format that it was tuned on.
        name: a format to use instead, whatever the manifest says.
        default: the format for a model whose manifest names none.

    Raises:
        InputError: the format no longer gives the ids that the model was trained with.
        ConfigError: no format has that name.
    """
    trained = str((engine.manifest.get("prompt") or {}).get("format", ""))
    if name is None:
        return check_probe(engine.manifest, engine.tokenizer) or get_format(default)
    if trained not in ("", name):
        log.warning(
            "the model was tuned on the prompt format %r, not %r; without --prompt it is used",
            trained, name,
        )  # fmt: skip
    return get_format(name)


class Talk:
    """A conversation that goes on; whole turns leave the prompt when it gets too long.

    Args:
        engine: the model.
        format: how the conversation becomes a prompt.
        sampling: how answers are chosen; the format's stop strings are added.
        system: what a system message says; None for none.
        truncate: which turns leave a prompt that gets too long, see `prompts.fit.fit_turns`.

    Attributes:
        messages: every turn so far, without the system message.
        num_forgotten: turns that the last prompt had no room for.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        format: PromptFormat,
        sampling: Sampling,
        system: str | None = None,
        truncate: Truncate = "oldest",
    ) -> None:
        self.system = system
        self.messages: list[Message] = []
        self.num_forgotten = 0
        self._truncate: Truncate = truncate
        self._engine, self._format = engine, format
        self._sampling = replace(
            sampling,
            stop=(*sampling.stop, *format.stop_strings),
            stop_ids=(*sampling.stop_ids, *stop_ids(format, engine.tokenizer)),
        )

    def reset(self) -> None:
        """Forget all turns; the system message stays."""
        self.messages = []

    def ask(self, question: str) -> Generator[str]:
        """Yield the answer as it comes; question and answer join the conversation.

        An answer that is broken off stays as far as it came.

        Raises:
            InputError: the question alone is longer than the model's context.
        """
        system = [Message("system", self.system)] if self.system else []
        asked = [*system, *self.messages, Message("user", question)]
        prompt, self.num_forgotten = fit_prompt(
            asked,
            format=self._format,
            tokenizer=self._engine.tokenizer,
            max_tokens=prompt_budget(self._engine.max_length, self._sampling.max_new_tokens),
            truncate=self._truncate,
        )
        shown: list[str] = []
        try:
            for text in self._engine.stream(prompt, self._sampling):
                text = text if shown else text.lstrip()  # the space that opens an answer
                if text:
                    shown.append(text)
                    yield text
        finally:
            answer = Message("assistant", "".join(shown).rstrip())
            self.messages += [Message("user", question), answer]


def prompt_budget(max_length: int, max_new_tokens: int) -> int:
    """Return how long a prompt may be: room for the answer is kept, at most half of the context."""
    return max(max_length - max_new_tokens, max_length // 2)


def fit_prompt(
    messages: Sequence[Message],
    *,
    format: PromptFormat,
    tokenizer: TextEncoder,
    max_tokens: int,
    truncate: Truncate = "oldest",
) -> tuple[list[int], int]:
    """Return the ids of a prompt and how many turns were left out to make it fit.

    A turn is a question with its answer; the system message stays.

    Args:
        messages: the conversation, its last question included.
        format: the prompt format.
        tokenizer: the model's tokenizer.
        max_tokens: the longest prompt.
        truncate: which turns are left out, see `prompts.fit.fit_turns`.

    Raises:
        InputError: what must stay is too long.
    """

    def encode(kept: Sequence[Message]) -> list[int]:
        return encode_prompt(kept, format=format, tokenizer=tokenizer)

    kept = fit_turns(
        messages, size=lambda turns: len(encode(turns)), limit=max_tokens, truncate=truncate
    )
    if kept is None:
        raise _too_long(messages, encode, max_tokens, truncate)
    return encode(kept.messages), kept.dropped_turns


def _too_long(
    messages: Sequence[Message],
    encode: Callable[[Sequence[Message]], list[int]],
    max_tokens: int,
    truncate: Truncate,
) -> InputError:
    why = f"the model has room for {max_tokens}, its answer not counted"
    if truncate == "refuse":
        return InputError(
            f"the conversation has {len(encode(messages))} tokens",
            why=why,
            fix="begin a new one, or let the oldest turns be forgotten",
        )
    opening, *turns = split_turns(messages)
    last = [*opening, *(turns[-1] if turns else [])]
    return InputError(
        f"the question has {len(encode(last))} tokens",
        why=why,
        fix="ask a shorter question or allow a shorter answer (--max-new-tokens)",
    )
