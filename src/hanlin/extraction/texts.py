"""Which texts are extracted from? Plain lines or JSON lines, each with a known language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.data.readers import BadRows, detect, files_in
from hanlin.data.readers.json_rows import read_values
from hanlin.extraction.facts import Extraction
from hanlin.extraction.schema import Schema, schema_for


def read_texts(
    path: Path, *, schemas: Mapping[str, Schema], language: str | None
) -> list[Extraction]:
    """Read the texts of a file as extractions in which nothing was found yet.

    Args:
        path: a text on each line, or JSON rows with "text" and perhaps "language" and "id".
        schemas: the languages that can be read.
        language: of texts that do not name one; None where there is only one schema.

    Raises:
        InputError: the file is missing, empty or not readable.
        ConfigError: a text's language is unknown or has no schema.
    """
    bad = BadRows()
    texts = []
    for file in files_in(path):
        rows = _json_rows(file, bad) if detect(file) == "json" else _lines(file)
        for id_, text, own in bad.counted(file, rows):
            texts.append(Extraction(id_, text, schema_for(schemas, own or language).language))
    return texts


def _json_rows(file: Path, bad: BadRows) -> Iterator[tuple[str, str, str | None]]:
    for line, row in read_values(file, bad):
        text = row.get("text") if isinstance(row, dict) else row
        if not isinstance(text, str) or not text.strip():
            bad.add(str(file), line, 'no text: expected {"text": ...}')
            continue
        row = row if isinstance(row, dict) else {}
        yield str(row.get("id", line)), text, row.get("language")


def _lines(file: Path) -> Iterator[tuple[str, str, None]]:
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is not UTF-8 text",
            why=str(error),
            fix=f"iconv -f GB18030 -t UTF-8 {file} > NEW_FILE",
        ) from error
    except OSError as error:
        raise os_error(error, file) from error
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            yield str(number), line.strip(), None
