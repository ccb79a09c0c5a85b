"""How is a multiple-choice question put to a model, and what of its answer is scored?

A protocol is a prompt (the model's chat format, or running text), examples before the question, and
a scorer: the likelihood of each option's text, or of its letter after a list of the options, or an
answer that the model generates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from string import ascii_uppercase

from hanlin.core.errors import InputError
from hanlin.core.records import Message, Question
from hanlin.evaluation.benchmark import AveragingName, ScorerName
from hanlin.evaluation.layout import LINES, Layout
from hanlin.inference.engine import ScoreRequest
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.format import PromptFormat, fill
from hanlin.tokenization.load import Tokenizer

LETTER_SCORERS = ("letter", "generate", "cot")
GENERATED = ("generate", "cot")


@dataclass(frozen=True)
class Protocol:
    """How questions are asked.

    Attributes:
        format: the chat format; None for running text.
        scorer: what is scored.
        intro: a sentence before the examples, in running text only; "{subject}" is replaced.
        titles: subject -> its name in the intro; a name without underscores where it has none.
        layout: how a question and its options are written.
        as_lm_eval: cut prompts and split answers from them as lm-evaluation-harness does.
        average: how subjects become one number.
        languages: language -> how its questions are written, where that differs.
    """

    format: PromptFormat | None
    scorer: ScorerName
    intro: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    layout: Layout = LINES
    as_lm_eval: bool = False
    average: AveragingName = "micro"
    languages: Mapping[str, Protocol] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompted:
    """A question as token ids.

    Attributes:
        requests: (prefix, continuation) for each choice.
        num_shots: examples before the question; fewer than wanted where the context is short.
        num_cut: tokens that were cut from the beginning of a question too long for the context.
        choices: what each request answers with: an option, a letter, or several letters.
        answer: index of the right choice; None where it is hidden.
    """

    requests: list[ScoreRequest]
    num_shots: int
    num_cut: int
    choices: tuple[str, ...] = ()
    answer: int | None = None


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
    choices, answer = choices_of(question, protocol)
    if protocol.as_lm_eval:
        return _as_lm_eval(question, examples, choices, protocol, tokenizer, max_length)
    for left_out in range(len(examples) + 1):
        text = _ids(question, examples[left_out:], choices, protocol, tokenizer)
        longest = max(len(prefix) + len(continuation) for prefix, continuation in text)
        if longest <= max_length + 1:
            break
    shots, num_cut = len(examples) - left_out, max(0, longest - max_length - 1)
    widest = max(len(continuation) for _, continuation in text)
    if max_length + 1 - widest < 2:
        raise InputError(
            f"question {question.id!r}: an option has {widest} tokens",
            why=f"the model's context holds {max_length}",
            fix="use a model with a longer context or leave the question out",
        )
    if num_cut:  # the first token is kept: without it many models lose their footing
        text = [([prefix[0], *prefix[1 + num_cut :]], answer_) for prefix, answer_ in text]
    requests: list[ScoreRequest] = list(text)
    return Prompted(requests, shots, num_cut, tuple(choices), answer)


def choices_of(question: Question, protocol: Protocol) -> tuple[Sequence[str], int | None]:
    """Return what may be answered (options, letters, sets of letters), and which is right.

    Raises:
        InputError: more options than letters.
    """
    if protocol.scorer not in LETTER_SCORERS:
        return [protocol.layout.option(o) for o in question.options], question.answer
    if len(question.options) > len(ascii_uppercase):
        raise InputError(
            f"question {question.id!r} has {len(question.options)} options",
            why=f"there are only {len(ascii_uppercase)} letters",
            fix="use scorer: text",
        )
    letters = ascii_uppercase[: len(question.options)]
    if not question.answers:
        return letters, question.answer
    sets = ["".join(s) for n in range(1, len(letters) + 1) for s in combinations(letters, n)]
    return sets, sets.index("".join(letters[index] for index in question.answers))


def prompt_text(question: Question, examples: Sequence[Question], protocol: Protocol) -> str:
    """Return the prompt of running text, up to where the answer begins."""
    protocol = protocol.languages.get(question.language, protocol)
    title = protocol.titles.get(question.subject) or question.subject.replace("_", " ")
    intro = protocol.intro.replace("{subject}", title)
    space = protocol.layout.space
    blocks = [f"{_asked(e, protocol)}{space}{_right(e, protocol)}" for e in examples]
    return protocol.layout.text(intro, blocks, _asked(question, protocol))


def prompt_ids(
    question: Question, examples: Sequence[Question], *, protocol: Protocol, tokenizer: Tokenizer
) -> list[int]:
    """Return the ids of the prompt alone, for an answer that is generated."""
    if protocol.format is None:
        text = prompt_text(question, examples, protocol)
        return [_begin(tokenizer), *tokenizer.encode(text, at_start=True)]
    return encode_prompt(
        _messages(question, examples, protocol), format=protocol.format, tokenizer=tokenizer
    )


def _ids(
    question: Question,
    examples: Sequence[Question],
    choices: Sequence[str],
    protocol: Protocol,
    tokenizer: Tokenizer,
) -> list[tuple[list[int], list[int]]]:
    prefix = prompt_ids(question, examples, protocol=protocol, tokenizer=tokenizer)
    if protocol.format:
        format = protocol.format
        answers = [tokenizer.encode(fill(format.answer, c), at_start=False) for c in choices]
        return [(prefix, answer) for answer in answers]
    text, space = prompt_text(question, examples, protocol), protocol.layout.space
    pairs = []
    for whole in tokenizer.encode_batch([f"{text}{space}{c}" for c in choices], at_start=True):
        # What follows the prompt may be one token with its end: the prefix is what both share.
        shared = _shared(prefix[1:], whole)
        pairs.append(([*prefix[: 1 + shared]], whole[shared:]))
    return pairs


def _as_lm_eval(
    question: Question,
    examples: Sequence[Question],
    choices: Sequence[str],
    protocol: Protocol,
    tokenizer: Tokenizer,
    max_length: int,
) -> Prompted:
    """Return the ids that lm-eval's hf backend scores: split by length, cut from the left."""
    text = prompt_text(question, examples, protocol)
    begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    context = [*begin, *tokenizer.encode(text, at_start=True)]
    space = protocol.layout.space
    wholes = tokenizer.encode_batch([f"{text}{space}{c}" for c in choices], at_start=True)
    requests: list[ScoreRequest] = []
    for whole in wholes:
        answer = [*begin, *whole][len(context) :]
        requests.append((context[-(max_length + 1 - len(answer)) :], answer))
    num_cut = max(len(context) - len(prefix) for prefix, _ in requests)
    _, right = choices_of(question, protocol)
    return Prompted(requests, len(examples), num_cut, tuple(choices), right)


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many ids two texts share at their beginning; one of b is left to be scored."""
    limit = min(len(a), len(b) - 1)
    if a[:limit] == b[:limit]:  # nearly always, and compared at once
        return limit
    return next((i for i in range(limit) if a[i] != b[i]), limit)


def _begin(tokenizer: Tokenizer) -> int:
    return tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id


def _messages(
    question: Question, examples: Sequence[Question], protocol: Protocol
) -> list[Message]:
    messages = [
        message
        for example in examples
        for message in (
            Message("user", _asked(example, protocol)),
            Message("assistant", _right(example, protocol)),
        )
    ]
    return [*messages, Message("user", _asked(question, protocol))]


def _asked(question: Question, protocol: Protocol) -> str:
    return protocol.layout.ask(
        question,
        has_letters=protocol.scorer in LETTER_SCORERS,
        is_chat=protocol.format is not None,
        with_reasons=protocol.scorer == "cot",
    )


def _right(example: Question, protocol: Protocol) -> str:
    if example.gold:
        return example.gold
    choices, answer = choices_of(example, protocol)
    assert answer is not None, "examples have answers"
    return (
        protocol.layout.reasons(example, choices[answer])
        if protocol.scorer == "cot"
        else (choices[answer])
    )
