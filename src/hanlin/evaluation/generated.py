"""What does a generated answer choose, and does it match the right text of a cloze?

The letter is found by our own patterns, tried in order; the first match wins, as with C-Eval's
authors. An answer without a letter is counted apart, as unparsed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from hanlin.core.records import Question
from hanlin.evaluation.protocol import Protocol, choices_of, prompt_ids
from hanlin.inference.engine import Engine
from hanlin.prompts.encode import stop_ids

NEW_TOKENS = {"cot": 256}
SHORT_ANSWER = 32
LETTERS = r"[(（【\s]*([A-Z](?:[,，、和\s]*[A-Z])*)(?![A-Za-z])"
PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:所以|因此|综上|故)[^。\n]{{0,12}}答案(?:应该|应)?(?:是|为|选)?[:：]?{LETTERS}",
        rf"(?i:the (?:correct |right )?answer is)\s*:?{LETTERS}",
        rf"答案(?:应该|应)?(?:是|为|选)?[:：]?{LETTERS}",
        rf"(?:故选|应选|选择|选)(?:项|择)?[:：]?{LETTERS}",
        rf"(?i:answer)\s*:{LETTERS}",
        rf"^{LETTERS}",
        rf"{LETTERS}[)）】]?(?:项|选项)?(?:是|为)?(?:正确|对)",
        rf"(?<![A-Za-z]){LETTERS}",
    )
)
NOISE = re.compile(r"\\(?:left|right|mathrm|mathbf|text|,|;|!|quad|displaystyle)|[${}\s]")
BLANK_SEPARATORS = re.compile(r"[;；]|\$,\$")


@dataclass(frozen=True)
class Answered:
    """A generated answer: its text, what it chooses ("" where that cannot be told), is it right?"""

    text: str
    choice: str
    is_right: bool
    num_shots: int
    num_cut: int


def generate_answers(
    questions: Sequence[Question],
    examples: Sequence[Sequence[Question]],
    *,
    protocol: Protocol,
    engine: Engine,
    max_new_tokens: int | None,
) -> list[Answered]:
    """Return an answer for each question, generated greedily after its examples."""
    from hanlin.inference.engine import Sampling

    limit = max_new_tokens or NEW_TOKENS.get(protocol.scorer, SHORT_ANSWER)
    limit = min(limit, engine.max_length // 2)
    stop: tuple[str, ...] = ("\n\n",) if protocol.scorer == "cot" else ("\n",)
    ends: tuple[int, ...] = ()
    if protocol.format is not None:
        stop = protocol.format.stop_strings
        ends = stop_ids(protocol.format, engine.tokenizer)
    fitted = [
        _fit(question, shots, protocol, engine, room=engine.max_length - limit)
        for question, shots in zip(questions, examples, strict=True)
    ]
    sampling = Sampling(max_new_tokens=limit, stop=stop, stop_ids=ends)
    found = engine.generate([ids for ids, _, _ in fitted], sampling)
    return [
        _judged(question, generation.text, protocol, shots=shots, cut=cut)
        for question, generation, (_, shots, cut) in zip(questions, found, fitted, strict=True)
    ]


def letters_in(text: str, num_options: int) -> str:
    """Return the letters that an answer chooses, in order; "" where it names none."""
    for pattern in PATTERNS:
        for match in pattern.finditer(text):
            letters = sorted(set(re.findall("[A-Z]", match[1])))
            if all(letter in ascii_uppercase[:num_options] for letter in letters):
                return "".join(letters)
    return ""


def matches(answer: str, gold: str) -> bool:
    """Tell whether two formulas or texts are the same but for spaces, widths and LaTeX noise."""
    return [_normal(part) for part in BLANK_SEPARATORS.split(answer)] == [
        _normal(part) for part in BLANK_SEPARATORS.split(gold)
    ]


def _normal(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).replace("\\dfrac", "\\frac")
    return NOISE.sub("", text.replace("\\leqslant", "\\leq")).strip(".。,，").lower()


def _judged(question: Question, text: str, protocol: Protocol, *, shots: int, cut: int) -> Answered:
    if not question.options:
        is_right = matches(text, question.gold)
        return Answered(text, text.strip(), is_right, shots, cut)
    choice = letters_in(text, len(question.options))
    choices, answer = choices_of(question, protocol)
    return Answered(text, choice, answer is not None and choice == choices[answer], shots, cut)


def _fit(
    question: Question,
    examples: Sequence[Question],
    protocol: Protocol,
    engine: Engine,
    *,
    room: int,
) -> tuple[list[int], int, int]:
    """Return a prompt that leaves room for its answer, its examples, and how much was cut off."""
    for left_out in range(len(examples) + 1):
        shots = examples[left_out:]
        ids = prompt_ids(question, shots, protocol=protocol, tokenizer=engine.tokenizer)
        if len(ids) <= room:
            return ids, len(shots), 0
    cut = len(ids) - room
    return [ids[0], *ids[1 + cut :]], 0, cut
