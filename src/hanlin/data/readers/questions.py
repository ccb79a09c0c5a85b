"""How does a file of multiple-choice questions become questions?

C-Eval (`id,question,A,B,C,D,answer`), CMMLU (`,Question,A,B,C,D,Answer`), MMLU (no header), and
JSON lines or Parquet with options as a list, as one text with line breaks (Xiezhi) or as A, B, C,
D (M3KE).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.core.records import Question
from hanlin.data.readers import arrow_rows
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows

SHARD = re.compile(r"(train|dev|val|validation|test)-\d+-of-\d+")
SPLIT = re.compile(r"_(test|val|dev|train)$")
HAN = re.compile(r"[\u3400-\u9fff]")


class _BadRowError(ValueError):
    """Why a row cannot be used."""


def read_csv(path: Path, bad: BadRows) -> Iterator[Question]:
    """Yield the questions of one subject; the subject is the file's name without _test or _val."""
    subject = subject_of(path)
    header: list[str] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            line = 1
            for cells in reader:
                here, line = line, reader.line_num + 1
                if header is None:
                    header = _header(cells)
                    if "question" in [cell.strip().lower() for cell in cells]:
                        continue
                if not any(cell.strip() for cell in cells):
                    continue
                try:
                    row = _named(cells, header)
                    yield _question(row, subject=subject, number=row.get("id") or str(here))
                except _BadRowError as error:
                    bad.add(str(path), here, str(error))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} is not a readable CSV file",
            why=str(error),
            fix=f"a file in another encoding: iconv -f GB18030 -t UTF-8 {path} > NEW_FILE",
        ) from error
    except OSError as error:
        raise os_error(error, path) from error


def read_json(path: Path, bad: BadRows) -> Iterator[Question]:
    """Yield the questions of a JSON or JSON-lines file."""
    return _rows(path, bad, read_values(path, bad))


def read_parquet(path: Path, bad: BadRows) -> Iterator[Question]:
    """Yield the questions of a Parquet file, as data sets of the hub have them."""
    return _rows(path, bad, arrow_rows.read_parquet(path, bad))


def _rows(path: Path, bad: BadRows, rows: Iterator[tuple[int, Any]]) -> Iterator[Question]:
    seen: set[int] = set()
    for line, row in rows:
        try:
            if not isinstance(row, dict):
                raise _BadRowError(f"expected an object, found {type(row).__name__}")
            number = row.get("id")  # the row's own, by which authors take answers (M3KE)
            if not isinstance(number, int) or number in seen:
                number = line
            seen.add(number)
            yield _question(row, subject=subject_of(path), number=str(number))
        except _BadRowError as error:
            bad.add(str(path), line, str(error))


def subject_of(path: Path) -> str:
    """Return the subject that a file's name tells: `law_val.csv` is "law".

    On the hub it is the folder's: `law/val-00000-of-00001.parquet`.
    """
    return path.parent.name if SHARD.fullmatch(path.stem) else SPLIT.sub("", path.stem)


def _header(cells: Sequence[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    if "question" in names:
        return [name or "id" for name in names]
    letters = [letter.lower() for letter in ascii_uppercase[: len(cells) - 2]]
    return ["question", *letters, "answer"]


def _named(cells: Sequence[str], header: Sequence[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise _BadRowError(f"{len(cells)} cells, expected {len(header)}: {', '.join(header)}")
    return dict(zip(header, cells, strict=True))


def _question(row: Mapping[str, Any], *, subject: str, number: str) -> Question:
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise _BadRowError("no question in it")
    options, are_lettered = _options(row)
    if len(options) < 2:
        raise _BadRowError(f"{len(options)} options, a choice needs two")
    labels = _labels(row)
    subject = str(row.get("subject") or (labels[0] if labels else subject))
    language = row.get("language") or ("zh" if HAN.search(text + options[0]) else "en")
    id_ = row.get("id") if isinstance(row.get("id"), str) and row.get("subject") else None
    return Question(
        id=str(id_ or f"{subject}-{number}"),
        question=text.strip(),
        options=tuple(options),
        answer=_answer(row.get("answer"), options, are_lettered=are_lettered),
        subject=subject,
        language=str(language),
        labels=labels,
        explanation=str(row.get("explanation") or "").strip(),
    )


def _options(row: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return the options, and whether they are cells A, B, ..., whose spaces some prompts keep."""
    options = row.get("options", row.get("choices"))
    if isinstance(options, str):  # of Xiezhi; a stray quote ends many of its lines
        options = [_unquoted(option) for option in options.split("\n")]
        options = [option for option in options if option]
    are_lettered = options is None
    if are_lettered:
        lowered = {str(key).lower(): value for key, value in row.items()}
        options = []
        for letter in ascii_uppercase.lower():
            if letter not in lowered:
                break
            options.append(lowered[letter])
    if not isinstance(options, list) or not all(isinstance(o, str | int | float) for o in options):
        raise _BadRowError("options are not a list of texts")
    if are_lettered:
        return [str(option) for option in options], True
    return [str(option).strip() for option in options], False


def _answer(answer: object, options: list[str], *, are_lettered: bool) -> int | None:
    """Return the index of the right option; None where the data set hides it."""
    if answer is None or answer == "":
        return None
    index = -1
    if isinstance(answer, int) and not isinstance(answer, bool):
        index = answer
    elif isinstance(answer, str):
        text, letter = _unquoted(answer), answer.strip().upper()
        place = ascii_uppercase.find(letter) if len(letter) == 1 else -1
        if are_lettered and 0 <= place < len(options):  # A means A, also where an option reads "A"
            index = place
        elif answer.strip() in options:
            index = options.index(answer.strip())
        else:
            index = options.index(text) if text in options else place
    if not 0 <= index < len(options):
        raise _BadRowError(f"the answer {answer!r} is none of the {len(options)} options")
    return index


def _unquoted(text: str) -> str:
    """Return a text without spaces around it and without a quote that has no partner."""
    text = text.strip()
    return text.strip('"').strip() if text.count('"') % 2 else text


def _labels(row: Mapping[str, Any]) -> tuple[str, ...]:
    labels = row.get("labels", row.get("label"))
    return tuple(map(str, labels)) if isinstance(labels, list) else ()
