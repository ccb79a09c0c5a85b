"""What will be trained, in words? The first rows are decoded and counted before the first step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from hanlin.core.errors import InputError
from hanlin.core.stage import StageContext
from hanlin.data.pack import PackedRows, Piece
from hanlin.prompts.encode import stop_ids
from hanlin.prompts.format import BOS, PromptFormat
from hanlin.prompts.formats import get_format

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

SHOWN_ROWS, SHOWN_CHARACTERS = 2, 240
OPEN, CLOSE = "⟦", "⟧"  # around what the loss counts


@dataclass(frozen=True)
class RowLook:
    """What stands in a row.

    Attributes:
        row: its number.
        documents: conversations or texts in it.
        trained_turns: answers whose tokens the loss counts.
        end_tokens: of these, the ones whose end token it counts.
        text: the first document, special tokens by name, trained parts in brackets.
    """

    row: int
    documents: int
    trained_turns: int
    end_tokens: int
    text: str


def show_first_rows(rows: PackedRows, tokenizer: Tokenizer, context: StageContext) -> None:
    """Decode, count and show the first rows.

    Raises:
        InputError: a trained answer has no trained end token, or a document does not begin with
            one begin token.
    """
    for number in range(min(SHOWN_ROWS, rows.rows_per_epoch)):
        look = look_at(rows, number, tokenizer)
        context.events.emit("first_rows", stage=context.name, **asdict(look))
        turns = f", {look.trained_turns} trained answers, {look.end_tokens} end tokens"
        context.note(
            f"  row {number}: {look.documents} documents{turns if look.trained_turns else ''}; "
            f"{OPEN}trained{CLOSE}: {_short(look.text)}"
        )


def look_at(rows: PackedRows, number: int, tokenizer: Tokenizer) -> RowLook:
    """Return what stands in a row.

    Raises:
        InputError: see `show_first_rows`.
    """
    store, pieces = rows.store, rows.pieces(number)
    prompt = store.header.get("prompt")
    format = get_format(prompt["format"]) if prompt else None
    ends = stop_ids(format, tokenizer) if format else ()
    text, turns, ended = "", 0, 0
    for piece in pieces:
        ids = store.ids(piece.source, piece.start, piece.start + piece.length).tolist()
        mask = store.mask(piece.source, piece.start, piece.start + piece.length)
        _check_begin(ids, format, tokenizer, f"row {number} of {store.path}")
        text = text or _decoded(ids, mask.tolist(), tokenizer, ends)
        if format is not None and _is_conversation(rows, piece):
            answers = _runs(ids, mask.tolist())
            turns += len(answers)
            ended += sum(any(i in ends for i in answer) for answer in answers)
    if ended < (turns if format is None or format.eos_after == "every" else min(turns, 1)):
        raise InputError(
            f"row {number} of {store.path} has {turns} trained answers but only {ended} of them "
            "train an end token",
            why="where it is missing, the model learns to go on and on",
            fix="prepare the conversations again: hanlin data prepare chat",
        )
    return RowLook(number, len(pieces), turns, ended, text)


def _is_conversation(rows: PackedRows, piece: Piece) -> bool:
    source = rows.store.sources[piece.source]
    return source.trained_tokens < source.tokens  # of a replayed text every token is trained


def _runs(ids: list[int], mask: list[bool]) -> list[list[int]]:
    """Return the ids of each stretch of trained tokens."""
    pairs = groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1])
    return [[i for i, _ in stretch] for is_trained, stretch in pairs if is_trained]


def _check_begin(
    ids: list[int], format: PromptFormat | None, tokenizer: Tokenizer, where: str
) -> None:
    """Refuse a document with two begin tokens; formats may have more of them by their templates."""
    begin = tokenizer.bos_id
    if begin is None:
        return
    is_placed = format is not None and BOS in format.user + format.assistant + format.separator
    doubled = any(a == b == begin for a, b in pairwise(ids))
    count = ids.count(begin)
    if not doubled and (is_placed or count <= 1):
        return
    raise InputError(
        f"a document in {where} has the begin token {tokenizer.piece_of(begin)!r} {count} times",
        why="it stands once, at the begin; a second one is what models were never trained on",
        fix="prepare the data again with hanlin data prepare",
    )


def _decoded(ids: list[int], mask: list[bool], tokenizer: Tokenizer, ends: Collection[int]) -> str:
    """Return the text of a document, the trained parts in brackets, special tokens by name."""
    special = {tokenizer.bos_id, tokenizer.eos_id, *ends}
    parts: list[str] = []
    for is_trained, stretch in groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1]):
        found = ""
        named = groupby((i for i, _ in stretch), key=lambda i: i in special)
        for is_special, group in named:
            own = list(group)
            names = (tokenizer.piece_of(i) for i in own)
            found += "".join(names) if is_special else tokenizer.decode_continuation(own)
        parts.append(f"{OPEN}{found}{CLOSE}" if is_trained else found)
    return "".join(parts)


def _short(text: str) -> str:
    """Return a text of one line, its middle left out where it is long."""
    line = text.replace("\n", "⏎")
    half = SHOWN_CHARACTERS // 2
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:half]} … {line[-half:]}"
