"""How does a conversation with a model go on, turn after turn, in the prompt it was trained with?

talk = Talk(engine, format=prompt_format(engine), sampling=Sampling())
for text in talk.ask("谁写了这本书？"):
    ...
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Message
from hanlin.inference.engine import Engine, Sampling, StreamEvent, texts_of
from hanlin.inference.saved_talk import Said, SavedTalk, saved_talk
from hanlin.prompts.encode import encode_prompt, stop_ids
from hanlin.prompts.fit import Truncate, fit_turns, split_turns
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import check_probe

if TYPE_CHECKING:
    from hanlin.prompts.encode import TextEncoder

log = logging.getLogger(__name__)
DEFAULT_FORMAT = "plain"
# CuteGPT's inference script sends the last three turns with a question, however short they are.
MEMORY_TURNS = {"cutegpt": 3, "cutegpt-en": 3}


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
        memory_turns: how many earlier turns a prompt has at most; None: all that fit, or what the
            format was made with (`MEMORY_TURNS`).

    Attributes:
        engine, format, system, sampling, truncate, memory_turns: as above; they may be changed
            between two questions.
        num_forgotten: turns that the last prompt did not have.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        format: PromptFormat,
        sampling: Sampling,
        system: str | None = None,
        truncate: Truncate = "oldest",
        memory_turns: int | None = None,
    ) -> None:
        self.engine, self.format, self.sampling, self.system = engine, format, sampling, system
        self.truncate: Truncate = truncate
        self.memory_turns = MEMORY_TURNS.get(format.name) if memory_turns is None else memory_turns
        self.num_forgotten = 0
        self._history: list[Said] = []

    @property
    def messages(self) -> list[Message]:
        """Return every turn so far, without the system message."""
        return [said.message for said in self._history]

    def add(self, message: Message) -> None:
        """Append a message that no model made: what a tool gave back, or an answer as an example.

        Raises:
            ConfigError: it is a system message.
        """
        if message.role == "system":
            raise ConfigError(
                "a system message cannot be added to a conversation",
                why="there is one, before the first turn",
                fix="set the attribute `system`",
            )
        self._history.append(Said(message))

    def reset(self) -> None:
        """Forget all turns; the system message stays."""
        self._history = []

    def ask(self, question: str) -> Generator[str]:
        """Yield the answer as it comes; question and answer join the conversation.

        An answer that is broken off stays as far as it came; where nothing came, the question is
        not kept either.

        Raises:
            InputError: the question alone is longer than the model's context.
        """
        return texts_of(self.events(question))

    def events(self, question: str) -> Generator[StreamEvent]:
        """Yield what `ask` does, with beams and log-probabilities where they were asked for."""
        return self._answer(Said(Message("user", question)), self.sampling)

    def undo(self) -> str:
        """Take the last question and what follows it back; return the question.

        Raises:
            InputError: nothing was asked.
        """
        index = self._last_question()
        question = self.messages[index].content
        del self._history[index:]
        return question

    def retry(self) -> Generator[StreamEvent]:
        """Answer the last question again, with the next seed where there is an answer already.

        The old answer is kept where the new one ends before it begins.

        Raises:
            InputError: nothing was asked.
        """
        index = self._last_question()
        asked, *rest = self._history[index:]
        del self._history[index:]
        old = next((said.sampling for said in reversed(rest) if said.sampling), None)
        sampling = replace(self.sampling, seed=old.seed + 1) if old else self.sampling
        try:
            yield from self._answer(asked, sampling)
        finally:
            if len(self._history) == index:
                self._history += [asked, *rest]

    def edit(self, index: int, text: str) -> None:
        """Change a message: an answer in its place, a question for `retry` to answer.

        Everything behind a changed question is forgotten.

        Args:
            index: of `messages`; negative ones count from the end.
            text: what it says instead.

        Raises:
            InputError: there is no such message.
        """
        if not -len(self._history) <= index < len(self._history):
            raise InputError(
                f"there is no message {index}",
                why=f"the conversation has {len(self._history)} messages",
            )
        index %= len(self._history)
        role = self._history[index].message.role
        self._history[index] = Said(Message(role, text))
        if role == "user":
            del self._history[index + 1 :]

    def replay(self) -> Generator[tuple[str, str, str]]:
        """Yield (question, answer then, answer now): all is asked again as it was asked before."""
        then, self._history = self._history, []
        for said in then:
            if said.sampling is None:
                self._history.append(said)
                continue
            asked = self._history.pop()
            now = "".join(texts_of(self._answer(asked, said.sampling)))
            yield asked.message.content, said.message.content, now.rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return the conversation with its parameters, for a file."""
        return SavedTalk(
            self.format.name, self.system, self.truncate, self.memory_turns, self.sampling,
            tuple(self._history),
        ).to_json()  # fmt: skip

    @classmethod
    def from_json(cls, engine: Engine, data: object) -> Talk:
        """Return the conversation that `to_json` gave, to go on with any model.

        Raises:
            InputError: it is no conversation.
            ConfigError: its prompt format is unknown here.
        """
        return cls.from_saved(engine, saved_talk(data))

    @classmethod
    def from_saved(cls, engine: Engine, saved: SavedTalk) -> Talk:
        """Return a conversation that was saved."""
        talk = cls(
            engine, format=prompt_format(engine, name=saved.format), sampling=saved.sampling,
            system=saved.system, truncate=saved.truncate,
        )  # fmt: skip
        talk.memory_turns = saved.memory_turns
        talk._history = list(saved.history)
        return talk

    def prompt(self, question: str, sampling: Sampling | None = None) -> list[int]:
        """Return the ids that the model would be asked this with, and set `num_forgotten`.

        Raises:
            InputError: the question alone is longer than the model's context.
        """
        system = [Message("system", self.system)] if self.system else []
        new_tokens = (sampling or self.sampling).max_new_tokens
        ids, self.num_forgotten = fit_prompt(
            [*system, *self.messages, Message("user", question)],
            format=self.format,
            tokenizer=self.engine.tokenizer,
            max_tokens=prompt_budget(self.engine.max_length, new_tokens),
            truncate=self.truncate,
            memory_turns=self.memory_turns,
        )
        return ids

    def _answer(self, asked: Said, sampling: Sampling) -> Generator[StreamEvent]:
        prompt = self.prompt(asked.message.content, sampling)
        shown: list[str] = []
        is_kept = False
        try:
            with closing(self.engine.events(prompt, self.with_stops(sampling))) as events:
                for event in _without_opening_space(events):
                    shown.append(event.text)
                    is_kept = is_kept or bool(event.text) or event.generation is not None
                    yield event
        finally:
            if is_kept:
                answer = Message("assistant", "".join(shown).rstrip())
                self._history += [asked, Said(answer, sampling)]

    def with_stops(self, sampling: Sampling | None = None) -> Sampling:
        """Return how an answer is chosen, with what ends answers in the prompt format."""
        sampling = sampling or self.sampling
        return replace(
            sampling,
            stop=(*sampling.stop, *self.format.stop_strings),
            stop_ids=(*sampling.stop_ids, *stop_ids(self.format, self.engine.tokenizer)),
        )

    def _last_question(self) -> int:
        asked = [index for index, message in enumerate(self.messages) if message.role == "user"]
        if not asked:
            raise InputError("nothing was asked yet", fix="type a question first")
        return asked[-1]


def _without_opening_space(events: Iterable[StreamEvent]) -> Iterator[StreamEvent]:
    """Take away the white space that opens an answer, in all that an event shows."""
    has_begun = False
    for event in events:
        text = event.text if has_begun else event.text.lstrip()
        has_begun = has_begun or text != ""
        beams = tuple(
            replace(b, text=b.text.lstrip(), tail=b.tail if b.text.strip() else b.tail.lstrip())
            for b in event.beams
        )
        done = event.generation
        done = done and replace(done, text=done.text.lstrip())
        yield replace(event, text=text, beams=beams, generation=done)


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
    memory_turns: int | None = None,
) -> tuple[list[int], int]:
    """Return the ids of a prompt and how many turns were left out of it.

    A turn is a question with its answer; the system message stays.

    Args:
        messages: the conversation, its last question included.
        format: the prompt format.
        tokenizer: the model's tokenizer.
        max_tokens: the longest prompt.
        truncate: which turns are left out, see `prompts.fit.fit_turns`.
        memory_turns: how many turns before the last question may stay; None for all that fit.

    Raises:
        InputError: what must stay is too long.
    """
    opening, *turns = split_turns(messages)
    recent = turns if memory_turns is None else turns[-(memory_turns + 1) :]
    remembered = [message for turn in (opening, *recent) for message in turn]

    def encode(kept: Sequence[Message]) -> list[int]:
        return encode_prompt(kept, format=format, tokenizer=tokenizer)

    kept = fit_turns(
        remembered, size=lambda turns: len(encode(turns)), limit=max_tokens, truncate=truncate
    )
    if kept is None:
        raise _too_long(remembered, encode, max_tokens, truncate)
    return encode(kept.messages), len(turns) - len(recent) + kept.dropped_turns


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
