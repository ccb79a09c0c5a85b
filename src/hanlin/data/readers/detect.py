"""Which format is a file, by what is in it and, where that does not tell, by its name?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.registry import LazyTable
from hanlin.data.readers.opened import head, inner_name
from hanlin.data.readers.rows import BadRows

HERE = "hanlin.data.readers"
ROWS = LazyTable(
    "format of rows",
    {
        "json": f"{HERE}.json_rows:read_values",
        "csv": f"{HERE}.csv_rows:read_csv",
        "tsv": f"{HERE}.csv_rows:read_tsv",
        "pickle": f"{HERE}.pickle_rows:read_pickle_rows",
        "parquet": f"{HERE}.arrow_rows:read_parquet",
        "arrow": f"{HERE}.arrow_rows:read_arrow",
    },
    group="hanlin.readers.rows",
)
SUFFIXES = {
    "json": "json", "jsonl": "json", "ndjson": "json", "csv": "csv", "tsv": "tsv",
    "pkl": "pickle", "pickle": "pickle", "parquet": "parquet", "arrow": "arrow",
    "bio": "bio", "conll": "bio", "idx": "knowlm",
}  # fmt: skip
JSON_START = re.compile(r'\{\s*"|\[\s*["{]')  # a text may begin with a bracket, hardly like this
TAGGED = re.compile(r"\S+[ \t]+(O|[BIMESLU]-[\w.\-]+)\s*$")  # one token and its tag
LEAST_TAGGED = 3  # lines
ZEROS_IN_TEXT = 0.01  # of the bytes, at most
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_rows(path: Path, bad: BadRows) -> Iterator[tuple[int, Any]]:
    """Yield (1-based line or number, row) of a file that consists of rows."""
    rows: Iterator[tuple[int, Any]] = ROWS.get(format_of(path))(path, bad)
    return rows


def format_of(file: Path) -> str:
    """Return a name of `ROWS`, "bio", "knowlm" or "text".

    Raises:
        InputError: the file cannot be read, or is neither text nor a known binary format.
    """
    start = head(file)
    named = SUFFIXES.get(inner_name(file).suffix.lower().removeprefix("."), "")
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"ARROW1") or (named == "arrow" and start[:4] == b"\xff" * 4):
        return "arrow"
    if len(start) > 1 and start[0] == 0x80 and start[1] <= 5:
        return "pickle"
    if named == "knowlm" or (file.suffix == ".bin" and file.with_suffix(".idx").exists()):
        return "knowlm"
    if named != "pickle":
        _refuse_binary(file, start)
    text = start.decode("utf-8-sig", "ignore").lstrip()
    if named in ("csv", "tsv") and not _is_json_line(text):
        return named
    if JSON_START.match(text):
        return "json"
    if named in ("", "json") and _is_tagged(text):
        return "bio"
    return named or "text"


def _refuse_binary(file: Path, start: bytes) -> None:
    if start.startswith(UTF_16):
        raise InputError(
            f"{file} is UTF-16 text", fix=f"iconv -f UTF-16 -t UTF-8 {file} > NEW_FILE"
        )
    if _is_binary(start):
        raise InputError(
            f"{file} is a binary file of an unknown format",
            why="read are text, JSON, CSV, Parquet, Arrow, pickles of plain lists, KnowLM's .idx "
            "with its .bin, and .gz, .xz or .zst around them",
            fix="unpack an archive (.zip, .tar) first; leave files that are no data out of a "
            "folder",
        )


def _is_binary(start: bytes) -> bool:
    """Tell binary data from text, in which scraped pages leave a stray zero byte."""
    zeros = start.count(b"\0")
    try:
        start[: start.rfind(b"\n") + 1 or None].decode()
    except UnicodeDecodeError:
        return zeros > 0
    return zeros > ZEROS_IN_TEXT * len(start)


def _is_json_line(text: str) -> bool:
    try:
        return text[:1] in ("{", "[") and json.loads(text.partition("\n")[0]) is not None
    except (ValueError, RecursionError):
        return False


def _is_tagged(text: str) -> bool:
    """Tell whether all lines but blank ones and the last (it may be cut) are tokens with tags."""
    lines = [line for line in text.splitlines()[:-1] if line.strip()]
    return len(lines) >= LEAST_TAGGED and all(map(TAGGED.match, lines))
