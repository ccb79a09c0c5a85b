"""How do the files of AGIEval and GAOKAO-Bench become questions?

AGIEval: JSON lines `{passage, question, options ["(A)..."], label (a letter, or several), answer}`;
without options it is a cloze. GAOKAO-Bench: `{example: [{question, answer}]}`, options in the text.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import os_error, read_json
from hanlin.core.records import Question
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows

MARK = re.compile(r"^\s*[(（]?\s*([A-Z])\s*[)）.．、:：]\s*")
# Options of GAOKAO-Bench often follow one another without a space: "A．河南B．湖南\nC. 山东".
INLINE = re.compile(r"(?<![A-Za-z])([A-G])\s*[.．、]\s*")
HAN = re.compile(r"[\u3400-\u9fff]")
YEARS = re.compile(r"^\d{4}-\d{4}_")
Row = Mapping[str, Any]


def read_agieval(folder: Path, *, bad: BadRows) -> Iterator[Question]:
    """Yield the questions of a file, or of every JSON-lines file of a folder.

    Raises:
        InputError: nothing is there, or too many rows cannot be used.
    """
    return _read(folder, "*.jsonl", bad, lambda file: read_values(file, bad), _agieval)


def read_gaokao_bench(folder: Path, *, bad: BadRows) -> Iterator[Question]:
    """Yield the questions of a file, or of every JSON file of a folder.

    Raises:
        InputError: nothing is there, or too many rows cannot be used.
    """
    return _read(folder, "*.json", bad, _examples, _gaokao)


def read_agieval_examples(file: Path, *, bad: BadRows) -> list[Question]:
    """Return the examples of AGIEval's few_shot_prompts.csv, with their explanations.

    A column for each exam, and rows "sample 1", "explanation 1", "sample 2", ...; a sample is a
    Python dictionary.

    Raises:
        InputError: the file cannot be read as CSV, or too many samples cannot be used.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header, *rows = [row for row in csv.reader(stream) if row]
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InputError(f"{file} is not a readable CSV file", why=str(error)) from error
    except OSError as error:
        raise os_error(error, file) from error
    found = []
    for number, (samples, explanations) in enumerate(zip(rows[::2], rows[1::2], strict=False), 1):
        cells = zip(header[1:], samples[1:], explanations[1:], strict=False)
        for name, sample, explanation in cells:
            if not sample.strip():
                continue
            try:
                question = _agieval(ast.literal_eval(sample), f"{name}-example", number)
            except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as error:
                bad.add(str(file), 2 * number, f"{name}: {error}")
                continue
            bad.good += 1
            found.append(replace(question, subject=name, explanation=explanation.strip()))
    bad.check(file)
    return found


def _read(
    path: Path,
    pattern: str,
    bad: BadRows,
    rows: Callable[[Path], Any],
    make: Callable[[Row, str, int], Question],
) -> Iterator[Question]:
    files = sorted(path.rglob(pattern)) if path.is_dir() else [path]
    if not files or not path.exists():
        raise InputError(f"{path} has no {pattern} file", fix="check the path")

    def questions() -> Iterator[Question]:
        for file in files:
            for number, row in rows(file):
                try:
                    yield make(row, file.stem, number)
                except (KeyError, TypeError, ValueError) as error:
                    bad.add(str(file), number, str(error) or type(error).__name__)

    return bad.counted(path, questions())


def _examples(file: Path) -> Iterator[tuple[int, Any]]:
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("example"), list):
        raise InputError(f"{file} is no file of GAOKAO-Bench", why='it has no list "example"')
    return enumerate(content["example"], start=1)


def _agieval(row: Row, name: str, number: int) -> Question:
    text = _text(row.get("question"))
    passage = str(row.get("passage") or "").strip()
    options = row.get("options")
    if not options:
        found = _question(name, number, text, gold=_text(row.get("answer")))
    else:
        label = row.get("label")
        letters = list(label) if isinstance(label, str | list) else []
        plain = tuple(MARK.sub("", str(option), count=1).strip() for option in options)
        if len(plain) == 1:  # in a few rows all options stand in one text
            _, plain = _inline_options(str(options[0]))
        found = _question(name, number, text, options=plain, letters=letters)
    return replace(found, passage=passage)


def _gaokao(row: Row, name: str, number: int) -> Question:
    name = YEARS.sub("", name)
    text, answer = _text(row.get("question")), row["answer"]
    if isinstance(answer, str):
        return _question(name, number, text, gold=_text(answer))
    if len(answer) != 1:
        raise ValueError(f"{len(answer)} questions on one text: not a question with options")
    stem, options = _inline_options(text)
    return _question(name, number, stem, options=options, letters=list(answer[0]))


def _inline_options(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a question and its options; the last run of marks A, B, C, ... is taken."""
    marks = list(INLINE.finditer(text))
    starts = [place for place, mark in enumerate(marks) if mark[1] == "A"]
    found = marks[starts[-1] :] if starts else []
    if len(found) < 2 or [m[1] for m in found] != list(ascii_uppercase[: len(found)]):
        raise ValueError("its options are not marked A, B, C, ... in order")
    ends = [mark.start() for mark in found[1:]] + [len(text)]
    options = tuple(text[m.end() : end].strip() for m, end in zip(found, ends, strict=True))
    return text[: found[0].start()].strip(), options


def _question(
    name: str,
    number: int,
    question: str,
    *,
    options: tuple[str, ...] = (),
    letters: list[str] | None = None,
    gold: str = "",
) -> Question:
    indices = sorted(ascii_uppercase.index(letter) for letter in letters or [])
    if options and (not all(options) or any(index >= len(options) for index in indices)):
        raise ValueError(f"the answer {letters} is none of the {len(options)} options")
    return Question(
        id=f"{name}-{number}",
        question=question,
        options=options,
        answer=indices[0] if len(indices) == 1 else None,
        subject=name,
        language="zh" if HAN.search(question) else "en",
        answers=tuple(indices) if len(indices) > 1 else (),
        gold=gold,
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("no question or no answer in it")
    return value.strip()
