"""How is a multiple-choice question put to a model, and what of its answer is scored?

A protocol is a prompt (the model's chat format, or running text), examples before the question, and
a scorer: the likelihood of each option's text, or of its letter after a list of the options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from hanlin.core.errors import InputError
from hanlin.core.records import Message, Question
from hanlin.evaluation.benchmark import ScorerName
from hanlin.inference.engine import ScoreRequest
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.format import PromptFormat, fill
from hanlin.tokenization.load import Tokenizer

ANSWER_WORDS = {"zh": "答案：", "en": "Answer:"}


@dataclass(frozen=True)
class Protocol:
    """How questions are asked.

    Attributes:
        format: the chat format; None for running text.
        scorer: what is scored.
        intro: a sentence before the examples, in running text only; "{subject}" is replaced.
    """

    format: PromptFormat | None
    scorer: ScorerName
    intro: str = ""


@dataclass(frozen=True)
class Prompted:
    """A question as token ids.

    Attributes:
        requests: (prefix, continuation) for each option.
        num_shots: examples before the question; fewer than wanted where the context is short.
        num_cut: tokens that were cut from the beginning of a question too long for the context.
    """

    requests: list[ScoreRequest]
    num_shots: int
    num_cut: int


def prompted(
    question: Question,
    examples: Sequence[Question],
    *,
    protocol: Protocol,
    tokenizer: Tokenizer,
    max_length: int,
) -> Prompted:
    """Return what is to be scored; examples are left out, the first one first, until it fits.

    Raises:
        InputError: more options than letters, or options longer than the context.
    """
    answers = [
        _continuation(option, protocol, tokenizer) for option in _choices(question, protocol)
    ]
    room = max_length - max(map(len, answers)) + 1
    if room < 2:
        raise InputError(
            f"question {question.id!r}: an option has {max(map(len, answers))} tokens",
            why=f"the model's context holds {max_length}",
            fix="use a model with a longer context or leave the question out",
        )
    for left_out in range(len(examples) + 1):
        prefix = _prefix(question, examples[left_out:], protocol, tokenizer)
        if len(prefix) <= room:
            break
    num_cut = max(0, len(prefix) - room)
    if num_cut:  # the first token is kept: without it many models lose their footing
        prefix = [prefix[0], *prefix[1 + num_cut :]]
    requests: list[ScoreRequest] = [(prefix, answer) for answer in answers]
    return Prompted(requests, len(examples) - left_out, num_cut)


def _choices(question: Question, protocol: Protocol) -> Sequence[str]:
    """Return what may be answered: the options, or their letters."""
    if protocol.scorer == "text":
        return question.options
    if len(question.options) > len(ascii_uppercase):
        raise InputError(
            f"question {question.id!r} has {len(question.options)} options",
            why=f"there are only {len(ascii_uppercase)} letters",
            fix="use scorer: text",
        )
    return ascii_uppercase[: len(question.options)]


def _continuation(answer: str, protocol: Protocol, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of an answer as they follow the prompt (and were trained); no end token."""
    text = fill(protocol.format.answer, answer) if protocol.format else f" {answer}"
    return tokenizer.encode(text, at_start=False)


def _prefix(
    question: Question, examples: Sequence[Question], protocol: Protocol, tokenizer: Tokenizer
) -> list[int]:
    if protocol.format is None:
        intro = protocol.intro.replace("{subject}", question.subject.replace("_", " "))
        blocks = [f"{_asked(e, protocol)} {_right(e, protocol)}" for e in examples]
        text = "\n\n".join([*([intro] if intro else []), *blocks, _asked(question, protocol)])
        begin = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
        return [begin, *tokenizer.encode(text, at_start=True)]
    messages = [
        message
        for example in examples
        for message in (
            Message("user", _asked(example, protocol)),
            Message("assistant", _right(example, protocol)),
        )
    ]
    messages.append(Message("user", _asked(question, protocol)))
    return encode_prompt(messages, format=protocol.format, tokenizer=tokenizer)


def _asked(question: Question, protocol: Protocol) -> str:
    """Return the question's text, with its options where letters are scored."""
    lines = [question.question]
    if protocol.scorer == "letter":
        pairs = zip(ascii_uppercase, question.options, strict=False)
        lines += [f"{letter}. {option}" for letter, option in pairs]
    if protocol.format is None:
        lines.append(ANSWER_WORDS.get(question.language, ANSWER_WORDS["en"]))
    return "\n".join(lines)


def _right(example: Question, protocol: Protocol) -> str:
    assert example.answer is not None, "examples have answers"
    return _choices(example, protocol)[example.answer]
