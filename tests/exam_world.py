"""Exams in the layouts of the published files, made up, and engines that know or guess the answers.

knows = write_all(folder, place=2)
Oracle(engine, knows); Guesser(engine)
"""

import csv
import io
import json
import random
import zlib
from array import array
from string import ascii_uppercase

from hanlin.core.files import write_atomic
from hanlin.inference.engine import Generation

WORDS = {"zh": ["河流", "高山", "大海", "湖泊"], "en": ["river", "mountain", "sea", "lake"]}
SUBJECTS = {
    "ceval": ("law", "advanced_mathematics", "logic"),
    "cmmlu": ("agronomy", "ancient_chinese", "logical"),
    "mmlu": ("anatomy", "philosophy", "sociology"),
    "m3ke": ("Dance-Arts & Humanities-Other", "Novels-Other-Other"),
}
BENCHMARKS = ("ceval", "cmmlu", "mmlu", "m3ke", "xiezhi", "agieval", "gaokao")


class World:
    """Writes one benchmark after the other; `knows` maps a question's text to its answer."""

    def __init__(self, folder, *, place=None, count=6, seed=0):
        self.folder, self.place, self.count = folder, place, count
        self.draw, self.knows = random.Random(seed), {}

    def write_all(self):
        for name in ("ceval", "cmmlu", "mmlu"):
            self.exam(name)
        self.m3ke()
        self.xiezhi()
        self.agieval()
        self.gaokao()
        return self.knows

    def write(self, benchmark):
        getattr(self, benchmark, lambda: self.exam(benchmark))()
        return self.knows

    def question(self, *where, language="zh"):
        """Return (text, options, index of the answer), and remember them."""
        tag = "".join(map(str, where))
        text = f"{tag}里，哪一个是对的？" if language == "zh" else f"In {tag}, which is right?"
        options = [f"{word}{tag}" for word in WORDS[language]]
        answer = self.draw.randrange(4) if self.place is None else self.place
        self.knows[text] = (ascii_uppercase[answer], options[answer])
        return text, options, answer

    def exam(self, name):
        own = {"ceval": "val", "cmmlu": "test", "mmlu": "test"}[name]
        for split in ("dev", own):
            for subject in SUBJECTS[name]:
                suffix = "" if name == "cmmlu" else f"_{split}"
                file = self.folder / name / split / f"{subject}{suffix}.csv"
                self._csv(file, name, split, subject)

    def _csv(self, file, name, split, subject):
        with_reasons = name == "ceval" and split == "dev"
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if name == "ceval":
            header = ["id", "question", "A", "B", "C", "D", "answer"]
            writer.writerow([*header, "explanation"] if with_reasons else header)
        if name == "cmmlu":
            writer.writerow(["", "Question", "A", "B", "C", "D", "Answer"])
        for number in range(self.count):
            language = "en" if name == "mmlu" else "zh"
            question, options, answer = self.question(name, split, subject, number,
                                                      language=language)  # fmt: skip
            row = [question, *options, ascii_uppercase[answer]]
            row = row if name == "mmlu" else [number, *row]
            writer.writerow([*row, "1. 第一步，看题。\n2. 第二步。"] if with_reasons else row)
        write_atomic(file, text.getvalue().encode("utf-8-sig" if name == "ceval" else "utf-8"))

    def m3ke(self):
        for split in ("dev", "test"):
            for subject in SUBJECTS["m3ke"]:
                rows = []
                for number in range(self.count):
                    text, options, answer = self.question("m3ke", split, subject, number)
                    letter = ascii_uppercase[answer] if split == "dev" else ""
                    cells = dict(zip("ABCD", options, strict=True))
                    rows.append({"id": number, "question": text, **cells, "answer": letter})
                self._lines(self.folder / "m3ke" / split / f"{subject}.jsonl", rows)

    def xiezhi(self):
        for part, code in (("spec", "chn"), ("inter", "chn"), ("spec", "eng"), ("train", "chn"),
                           ("train", "eng")):  # fmt: skip
            language, key = ("zh", "labels") if code == "chn" else ("en", "label")
            rows = []
            for number in range(max(self.count, 16)):
                text, options, answer = self.question("xz", part, code, number, language=language)
                labels = ["历史学", "文学"] if code == "chn" else ["History"]
                # Many lines of the published files end with a stray quote.
                rows.append({"question": text, key: labels, "answer": options[answer],
                             "options": "\n".join(options) + '"'})  # fmt: skip
            self._lines(self.folder / "xiezhi" / f"xiezhi_{part}_{code}.jsonl", rows)

    def agieval(self):
        rows = []
        for number in range(self.count):
            text, options, answer = self.question("agi", number)
            marked = [f"({a}){o}" for a, o in zip("ABCD", options, strict=True)]
            rows.append({"passage": f"文章{number}。" if number % 2 else None, "question": text,
                         "options": marked, "label": ascii_uppercase[answer], "answer": None,
                         "other": None})  # fmt: skip
        self._lines(self.folder / "agieval" / "gaokao-history.jsonl", rows)
        self.several(rows[0]["options"])
        cloze = {"passage": None, "question": "一加四等于____。", "options": None, "label": None,
                 "answer": "$5$"}  # fmt: skip
        self.knows[cloze["question"]] = ("$5$", "$5$")
        self._lines(self.folder / "agieval" / "gaokao-mathcloze.jsonl", [cloze])

    def several(self, options):
        """Write a question with two right answers, as in AGIEval's physics."""
        row = {"passage": None, "question": "哪些是对的？", "options": options,
               "label": ["A", "C"], "answer": None}  # fmt: skip
        self.knows[row["question"]] = ("AC", "AC")
        self._lines(self.folder / "agieval" / "gaokao-physics.jsonl", [row])

    def gaokao(self):
        examples = []
        for number in range(self.count):
            text, options, answer = self.question("gaokao", number)
            listed = "".join(f"{a}．{o}\n" for a, o in zip("ABCD", options, strict=True))
            examples.append({"year": "2010", "question": f"{number + 1}．{text}\n{listed}",
                             "answer": [ascii_uppercase[answer]], "index": number})  # fmt: skip
        content = {"keywords": "2010-2022_History_MCQs", "example": examples}
        file = self.folder / "gaokao" / "2010-2022_History_MCQs.json"
        write_atomic(file, json.dumps(content, ensure_ascii=False).encode())

    def _lines(self, file, rows):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(file, text.encode())


class Oracle:
    """Knows the letter and the text that answer the last question of a prompt."""

    manifest = {}
    max_length = 100_000

    def __init__(self, engine, knows):
        self.tokenizer, self.knows, self.seen = engine.tokenizer, knows, {}

    def right(self, prefix):
        key = tuple(prefix)
        if key not in self.seen:
            text = self.tokenizer.decode(prefix)
            self.seen[key] = self.knows[max(self.knows, key=text.rfind)]
        return self.seen[key]

    def score(self, requests):
        return [
            0.0 if self.tokenizer.decode_continuation(c).strip() in self.right(p) else -1.0
            for p, c in requests
        ]

    def generate(self, prompts, _sampling):
        return [Generation(self.said(self.right(p)[0]), (), "eos") for p in prompts]

    def said(self, answer):
        return f"答案：{answer}" if answer.isalpha() else answer


class Guesser(Oracle):
    """Finds every option as likely as any other, by lot: the same lot for the same ids."""

    def __init__(self, engine, seed=1):
        super().__init__(engine, {})
        self.seed = seed

    def score(self, requests):
        return [self.lot([*p, *c]) for p, c in requests]

    def generate(self, prompts, _sampling):
        letters = ["ABCD"[int(4 * self.lot(prompt))] for prompt in prompts]
        return [Generation(letter, (), "eos") for letter in letters]

    def lot(self, ids):
        return random.Random(zlib.crc32(array("I", ids).tobytes()) + self.seed).random()
