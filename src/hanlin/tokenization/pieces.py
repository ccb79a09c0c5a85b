"""Which pieces can be added to a SentencePiece BPE model without moving any id it makes now?

Three things must hold for a new piece. Its text is not in the model yet. It holds a character that
texts of the base language do not have: then it can never match in them, and their ids stay. And it
is reachable: SentencePiece merges two neighbors at a time, so a piece that no two pieces make up is
never made. New pieces score below all old ones, in their own order: old merges win.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hanlin.tokenization import sentencepiece
from hanlin.tokenization.sentencepiece import NORMAL, SPACE

# First code points of blocks, and whether Latin-script texts use the block's characters:
# Latin with its diacritics, punctuation, currency, arrows and signs, ligatures, emoji.
BLOCKS = (
    (0x0000, True), (0x0370, False), (0x1E00, True), (0x1F00, False), (0x2000, True),
    (0x2C00, False), (0xFB00, True), (0xFB07, False), (0xFE00, True), (0xFE10, False),
    (0xFEFF, True), (0xFF00, False), (0x1F000, True), (0x20000, False), (0xE0000, True),
)  # fmt: skip
STRAY_SHARE = 1e-4  # characters of another script, rarer than this in control texts, are strays
OUTLIER = -1e8  # LLaMA gives runs of spaces a score of -1e9, so that they merge last


@dataclass(frozen=True)
class Extension:
    """What became of the pieces that were offered.

    Attributes:
        model: the extended ModelProto.
        added: texts of the new pieces, in order of their ids.
        duplicates: pieces that the base has already.
        could_move_base: pieces without a character of their own, which could match base texts.
        unreachable: pieces that no sequence of merges makes.
    """

    model: Any
    added: tuple[str, ...]
    duplicates: int
    could_move_base: int
    unreachable: int


def extend_model(
    base: Any,  # noqa: ANN401 - a ModelProto
    offered: Iterable[str],
    *,
    control: Sequence[str] = (),
    limit: int | None = None,
) -> Extension:
    """Append pieces to a model; the base's own pieces keep their ids and scores.

    Args:
        base: a BPE ModelProto.
        offered: texts of pieces, the most useful first.
        control: texts of the base language, whose ids must not change.
        limit: most pieces to add; None: all that can be.
    """
    have = {piece.piece for piece in base.pieces}
    unique = _characters_first(offered)
    new = [text for text in unique if text not in have]
    characters = _base_characters(control)
    safe = [
        text
        for text in new
        if _is_foreign(text, base_characters=characters, is_controlled=bool(control))
    ]
    reachable = _reachable(base, safe)
    chosen = reachable if limit is None else _first(base, reachable, limit)
    return Extension(
        model=appended(base, chosen),
        added=tuple(chosen),
        duplicates=len(unique) - len(new),
        could_move_base=len(new) - len(safe),
        unreachable=len(safe) - len(reachable),
    )


def appended(base: Any, texts: Sequence[str]) -> Any:  # noqa: ANN401 - ModelProtos
    """Return a copy of a model with pieces at its end, each scoring below all before it."""
    model = sentencepiece.empty_model()
    model.CopyFrom(base)
    scores = [p.score for p in base.pieces if p.type == NORMAL and p.score > OUTLIER]
    lowest = min(scores, default=0.0)
    for index, text in enumerate(texts):
        piece = model.pieces.add()
        piece.piece, piece.score, piece.type = text, lowest - 1 - index, NORMAL
    model.trainer_spec.vocab_size = len(model.pieces)
    return model


def is_other_script(character: str) -> bool:
    """Tell whether texts in Latin script never use a character: Han, Cyrillic, kana, ..."""
    point = ord(character)
    return next(not western for start, western in reversed(BLOCKS) if start <= point)


def _characters_first(texts: Iterable[str]) -> list[str]:
    """Return every text once, and before each the characters in it that are offered as well."""
    texts = list(texts)
    characters = {text for text in texts if len(text) == 1}
    ordered = (part for text in texts for part in (*(c for c in text if c in characters), text))
    return list(dict.fromkeys(ordered))


def _base_characters(control: Sequence[str]) -> frozenset[str]:
    """Return the characters that belong to the base language, going by its own texts.

    A stray Chinese name in an English text does not make its characters English.
    """
    counts = Counter(c for text in control for c in text)
    least = counts.total() * STRAY_SHARE
    return frozenset(c for c, n in counts.items() if n >= least or not is_other_script(c))


def _is_foreign(text: str, *, base_characters: Collection[str], is_controlled: bool) -> bool:
    """Tell whether a piece holds a character that base texts do not have.

    Punctuation such as “ or … counts only where control texts show that they do without it.
    """
    return any(
        (is_other_script(c) or (is_controlled and not (c.isascii() or c.isalpha())))
        and c not in base_characters
        for c in text.replace(SPACE, "")
    )


def _reachable(base: Any, texts: list[str]) -> list[str]:  # noqa: ANN401 - a ModelProto
    """Return the pieces that their own text is encoded to, with only such pieces added."""
    while True:
        found = [t for t, is_made in zip(texts, _are_made(base, texts), strict=True) if is_made]
        if len(found) == len(texts):
            return found
        texts = found  # a piece may have been made by way of one that is gone now


def _first(base: Any, texts: list[str], limit: int) -> list[str]:  # noqa: ANN401 - a ModelProto
    """Return the first `limit` pieces that need none of the others to be made."""
    chosen: list[str] = []
    while len(chosen) < limit and texts:
        wanted = limit - len(chosen)
        chosen, texts = _reachable(base, chosen + texts[:wanted]), texts[wanted:]
    return chosen


def _are_made(base: Any, texts: Sequence[str]) -> list[bool]:  # noqa: ANN401 - a ModelProto
    """Tell for each piece whether its own text is encoded to it, here and in `tokenizers`.

    SentencePiece merges two characters even where they are no pieces themselves; a merge list, as
    `tokenizer.json` has it, cannot. So all characters of a piece have to be pieces.
    """
    model = appended(base, texts)
    characters = {piece.piece for piece in model.pieces if len(piece.piece) == 1}
    model.normalizer_spec.add_dummy_prefix = False
    processor = sentencepiece.processor(model)
    first = len(base.pieces)
    encoded = processor.encode([text.replace(SPACE, " ") for text in texts])
    return [
        ids == [first + index] and characters.issuperset(texts[index])
        for index, ids in enumerate(encoded)
    ]


def donor_pieces(donor: Any) -> list[str]:  # noqa: ANN401 - a ModelProto
    """Return the pieces of another model, best first: by score, then by id."""
    order = sorted(
        (index for index, piece in enumerate(donor.pieces) if piece.type == NORMAL),
        key=lambda index: (-donor.pieces[index].score, index),
    )
    return [donor.pieces[index].piece for index in order]
