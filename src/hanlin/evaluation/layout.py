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
PLACE = re.compile(r"\{(?:question|options|last)\}")


@dataclass(frozen=True)
class Layout:
    """How questions, options and answers are written.

    Attributes:
        words: language -> the line before the answer.
        space: between that line and the answer.
        letter: how a listed option is written; {letter} and {option} are replaced.
        templates: language -> a whole question with {question}, {options} and {last}, the last
            letter; empty: question, options and `words` in lines.
        option_gap: between listed options in a template.
        example: around an example; {number} from 0, and {block} are replaced.
        asked: around the question that is asked.
        keeps_spaces: leave spaces around an option's text as the file has them.
    """

    words: dict[str, str] = field(default_factory=lambda: ANSWER_WORDS)
    space: str = " "
    letter: str = "{letter}. {option}"
    templates: dict[str, str] = field(default_factory=dict)
    option_gap: str = "\n"
    example: str = "{block}"
    asked: str = "{block}"
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
        if self.templates and question.options and not is_chat:
            listed = lettered if has_letters else [self.option(o) for o in question.options]
            parts = {
                "{question}": question.question,
                "{options}": self.option_gap.join(listed),
                "{last}": ascii_uppercase[min(len(question.options), 26) - 1],
            }
            template = self.templates.get(question.language, self.templates["en"])
            return PLACE.sub(lambda place: parts[place[0]], template)
        lines = [question.question, *(lettered if has_letters else [])]
        if not is_chat:
            word = self.words.get(question.language, self.words["en"])
            lines.append(word + (self._reasons(question) if with_reasons else ""))
        return "\n".join(lines)

    def text(self, intro: str, examples: Sequence[str], question: str) -> str:
        """Return the whole prompt: the intro, examples with their answers, and the question."""
        blocks = [
            self.example.replace("{number}", str(number)).replace("{block}", block)
            for number, block in enumerate(examples)
        ]
        blocks.append(self.asked.replace("{block}", question) if examples else question)
        return "\n\n".join([*([intro] if intro else []), *blocks])

    def reasons(self, example: Question, letter: str) -> str:
        """Return an example's answer where reasons are asked for; exam files have none to give."""
        return THEREFORE.get(example.language, THEREFORE["en"]).format(letter)

    def _reasons(self, question: Question) -> str:
        return REASON_WORDS.get(question.language, REASON_WORDS["en"])


LINES = Layout()
