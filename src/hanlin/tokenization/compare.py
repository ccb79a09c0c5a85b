"""Which tokenizer needs how many tokens for which text, what does it lose, what does it not use?

hanlin tokenizer compare BASE EXTENDED --text zh.jsonl en.txt
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import sha256
from hanlin.text.script import main_script
from hanlin.tokenization.comparison import Comparison, Input, Row, Vocabulary
from hanlin.tokenization.fertility import batches, count, flatten, tables
from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.texts import Text, read_texts

if TYPE_CHECKING:
    import numpy as np

SHOWN_PIECES = 10


def compare(
    tokenizers: dict[str, Tokenizer],
    files: Sequence[Path],
    *,
    max_bad_rows: float = 0.01,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None,
) -> Comparison:
    """Encode every text of every file with every tokenizer; files are read as a stream.

    Args:
        tokenizers: name -> tokenizer; the first is the one that others are compared to.
        files: `.jsonl` with "text" and perhaps "language", or plain text in UTF-8.
        max_bad_rows: share of bad rows in a file above which it stops.
        progress: called with (kilobytes done, kilobytes in all, file).

    Raises:
        ConfigError: a file is given twice.
        InputError: a file is missing, unreadable, holds too many bad rows or no text.
    """
    twice = next((file for file in files if list(files).count(file) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is given twice", fix="name each file once")
    inputs = tuple(map(_describe, files))
    total = sum(entry.size_bytes for entry in inputs)
    subjects = [_Subject(name, tokenizer) for name, tokenizer in tokenizers.items()]
    rows: list[Row] = []
    before = 0
    for file, entry in zip(files, inputs, strict=True):

        def report(done: int, *, file: Path = file, before: int = before) -> None:
            progress((before + done) // 1000, total // 1000, f"kB, {file.name}")

        rows += _compare_file(file, subjects, max_bad_rows=max_bad_rows, progress=report)
        before += entry.size_bytes
        report(entry.size_bytes)
    vocabularies = tuple(subject.vocabulary(subjects[0].tokenizer) for subject in subjects)
    return Comparison(inputs, vocabularies, tuple(rows))


def _describe(file: Path) -> Input:
    if not file.is_file():
        next(read_texts(file), None)  # says what it is instead
    return Input(str(file), file.stat().st_size, sha256(file))


class _Subject:
    """A tokenizer, and which of its entries the texts have produced."""

    def __init__(self, name: str, tokenizer: Tokenizer) -> None:
        import numpy as np

        self.name, self.tokenizer = name, tokenizer
        self.is_used = np.zeros(tokenizer.vocab_size, dtype=bool)

    def vocabulary(self, first: Tokenizer) -> Vocabulary:
        """Say what is new against the first tokenizer, and what of it no text produced."""
        tokenizer = self.tokenizer
        known = {first.bytes_of(i) for i in range(first.vocab_size)} | {b""}
        new = [i for i in range(tokenizer.vocab_size) if tokenizer.bytes_of(i) not in known]
        unused = [i for i in new if not self.is_used[i]]
        return Vocabulary(
            tokenizer=self.name,
            sha256=tokenizer.sha256,
            vocab_size=tokenizer.vocab_size,
            new_pieces=len(new),
            unused_new_pieces=len(unused),
            unused_examples=tuple(
                tokenizer.bytes_of(i).decode(errors="replace") for i in unused[:SHOWN_PIECES]
            ),
        )


def _compare_file(
    file: Path,
    subjects: Sequence[_Subject],
    *,
    max_bad_rows: float,
    progress: Callable[[int], None],
) -> list[Row]:
    """Return the rows of one file: languages in the order of their first text."""
    found: dict[tuple[str, str], Row] = {}
    done = 0
    texts = read_texts(file, max_bad_rows=max_bad_rows)
    for batch in batches(texts, characters=lambda text: len(text.text)):
        groups: dict[str, list[Text]] = {}
        for text in batch:
            groups.setdefault(text.language or main_script(text.text), []).append(text)
        for language, group in groups.items():
            for row in _compare_group(str(file), language, group, subjects):
                key = language, row.tokenizer
                found[key] = found[key] + row if key in found else row
                done += row.fertility.bytes // len(subjects)
        progress(done)
    if not found:
        raise InputError(
            f"there is no text in {file}",
            why="every line is empty",
            fix="give a file with text in it",
        )
    order = {language: i for i, language in enumerate(dict.fromkeys(key[0] for key in found))}
    return sorted(found.values(), key=lambda row: order[row.language])


def _compare_group(
    file: str, language: str, group: Sequence[Text], subjects: Sequence[_Subject]
) -> list[Row]:
    """Measure every tokenizer on a few texts of one language."""
    texts = [text.text for text in group]
    rows: list[Row] = []
    first_ids: list[list[int]] = []
    for subject in subjects:
        ids = subject.tokenizer.encode_batch(texts, at_start=True)
        first_ids = first_ids or ids
        flat = flatten(ids)
        subject.is_used[flat] = True
        broken = [
            text.line
            for text, row in zip(group, ids, strict=True)
            if subject.tokenizer.decode(row) != text.text
        ]
        changed = [pair for pair in zip(first_ids, ids, strict=True) if pair[0] != pair[1]]
        first = subjects[0].tokenizer
        moved = sum(_count_moved(pair, first, subject.tokenizer) for pair in changed)
        rows.append(
            Row(
                subject.name, file, language, len(texts),
                fertility=count(subject.tokenizer, texts, flat),
                broken_texts=len(broken),
                first_broken=f"{file}:{broken[0]}" if broken else "",
                changed_texts=len(changed),
                changed_tokens=moved,
            )
        )  # fmt: skip
    return rows


def _count_moved(pair: tuple[list[int], list[int]], first: Tokenizer, other: Tokenizer) -> int:
    """Count ids of the first list that the second does not have at the same byte of the text."""
    import numpy as np

    before, after = _placed(pair[0], first), _placed(pair[1], other)
    return int((~np.isin(before, after)).sum())


def _placed(ids: Sequence[int], tokenizer: Tokenizer) -> np.ndarray:
    """Return one number for each id and its place, the same for the same id at the same byte."""
    import numpy as np

    row = np.array(ids, dtype=np.int64)
    lengths = tables(tokenizer)[0][row]
    starts: np.ndarray = np.cumsum(lengths) - lengths
    return starts * (1 << 32) + row
