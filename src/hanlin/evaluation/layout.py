"""How are a question and its options written in a prompt?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase

from hanlin.core.records import Question

ANSWER_WORDS = {"zh": "答案：", "en": "Answer:"}
# C-Eval's authors open an answer with its reasons so (Huang et al. 2023, appendix).
REASON_WORDS = {"zh": "让我们一步一步思考，\n1.", "en": " Let's think step by step.\n1."}
THEREFORE = {"zh": "所以答案是{}。", "en": " So the answer is {}."}
FIRST_STEP = "1."  # ends the prompt, and begins the explanations of C-Eval
PLACE = re.compile(r"\{(?:passage|question|options|last)\}")


@dataclass(frozen=True)
class Layout:
    """How questions, options and answers are written.

    Attributes:
        words: language -> the line before the answer.
        space: between that line and the answer.
        letter: how a listed option is written; {letter} and {option} are replaced.
        templates: language -> a whole question with {passage}, {question}, {options} and {last},
            the last letter; empty: passage, question, options and `words` in lines.
        clozes: language -> the same for a question without options.
        option_gap: between listed options in a template.
        example: around an example; {number} and {block} are replaced.
        asked: around the question that is asked after examples.
        first_number: of the examples.
        gap: between examples, and before the question.
        intro_gap: after the introduction.
        repeats_intro: write the introduction before every example and the question.
        keeps_spaces: leave spaces around an option's text as the file has them.
    """

    words: dict[str, str] = field(default_factory=lambda: ANSWER_WORDS)
    space: str = " "
    letter: str = "{letter}. {option}"
    templates: dict[str, str] = field(default_factory=dict)
    clozes: dict[str, str] = field(default_factory=dict)
    option_gap: str = "\n"
    example: str = "{block}"
    asked: str = "{block}"
    first_number: int = 0
    gap: str = "\n\n"
    intro_gap: str = "\n\n"
    repeats_intro: bool = False
    keeps_spaces: bool = False

    def option(self, text: str) -> str:
        """Return an option's text as it is listed and scored."""
        return text if self.keeps_spaces else text.strip()

    def ask(
        self, question: Question, *, has_letters: bool, is_chat: bool, with_reasons: bool
    ) -> str:
        """Return the question's text, with its options where letters are scored."""
        letters = zip(ascii_uppercase, question.options, strict=False)
        lettered = [
            self.letter.replace("{letter}", a).replace("{option}", self.option(o))
            for a, o in letters
        ]
        templates = self.templates if question.options else self.clozes
        if templates and not is_chat and not with_reasons:
            listed = lettered if has_letters else [self.option(o) for o in question.options]
            return self._filled(templates, question, listed)
        lines = [question.question, *(lettered if has_letters else [])]
        if question.passage:
            lines.insert(0, question.passage)
        if not is_chat:
            word = self.words.get(question.language, self.words["en"])
            lines.append(word + (self._reasons(question) if with_reasons else ""))
        return "\n".join(lines)

    def text(self, intro: str, examples: Sequence[str], question: str) -> str:
        """Return the whole prompt: the intro, examples with their answers, and the question."""
        blocks = [
            self._block(self.example, block, self.first_number + number)
            for number, block in enumerate(examples)
        ]
        last = self._block(self.asked, question, self.first_number + len(examples))
        blocks.append(last if examples else question)
        before = f"{intro}{self.intro_gap}" if intro else ""
        if self.repeats_intro:
            return self.gap.join(f"{before}{block}" for block in blocks)
        return before + self.gap.join(blocks)

    def reasons(self, example: Question, letter: str) -> str:
        """Return an example's answer where reasons are asked for: its explanation and the letter.

        The explanation goes on from the prompt's "1."; where there is none, the letter is alone.
        """
        answer = THEREFORE.get(example.language, THEREFORE["en"]).format(letter)
        if not example.explanation:
            return answer
        steps = example.explanation.strip().removeprefix(FIRST_STEP)
        return f"{steps.lstrip() if self.space else steps}\n{answer.strip()}"

    def _filled(self, templates: dict[str, str], question: Question, listed: Sequence[str]) -> str:
        parts = {
            "{passage}": question.passage,
            "{question}": question.question,
            "{options}": self.option_gap.join(listed),
            "{last}": ascii_uppercase[min(max(len(question.options), 1), 26) - 1],
        }
        template = templates.get(question.language, templates["en"])
        return PLACE.sub(lambda place: parts[place[0]], template)

    def _block(self, around: str, block: str, number: int) -> str:
        return around.replace("{number}", str(number)).replace("{block}", block)

    def _reasons(self, question: Question) -> str:
        return REASON_WORDS.get(question.language, REASON_WORDS["en"])


LINES = Layout()
