"""Which pieces can be added to a SentencePiece BPE model without moving any id it makes now?

Three things must hold for a new piece. Its text is not in the model yet. It holds a character that
texts of the base language do not have: then it can never match in them, and their ids stay. And it
is reachable: SentencePiece merges two neighbors at a time, so a piece that no two pieces make up is
never made.

New pieces score below all old ones, in their own order: old merges win. That is right for pieces
that were learned as merges. Those of a unigram model have no such order, and get one score above
all old ones (see `equal_scores`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hanlin.tokenization import sentencepiece
from hanlin.tokenization.equal_scores import formable, merges_itself, score_above
from hanlin.tokenization.foreign import ForeignCharacters
from hanlin.tokenization.sentencepiece import CONTROL, NORMAL, SPACE, UNUSED, USER_DEFINED
from hanlin.tokenization.sentencepiece_json import tied
from hanlin.tokenization.special_tokens import missing_names, reserved_names


@dataclass(frozen=True)
class Extension:
    """What became of the pieces that were offered.

    Attributes:
        model: the extended ModelProto.
        added: texts of the new pieces, in order of their ids.
        duplicates: pieces that the base has already.
        could_move_base: pieces without a character of their own, which could match base texts.
        unreachable: texts of pieces that no sequence of merges makes: dropped, but for
            `append_all`, which adds them too.
        helpers: those of `added` that were not offered: steps on the way to others.
        is_equal: the new pieces share one score, above all others.
    """

    model: Any
    added: tuple[str, ...]
    duplicates: int = 0
    could_move_base: int = 0
    unreachable: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    is_equal: bool = False


def extend_model(
    base: Any,  # noqa: ANN401 - a ModelProto
    offered: Iterable[str],
    *,
    may_add: Callable[[str], bool],
    limit: int | None = None,
    equal: bool = False,
) -> Extension:
    """Append pieces to a model; the base's own pieces keep their ids and scores.

    Args:
        base: a BPE ModelProto.
        offered: texts of pieces, the most useful first.
        may_add: tells whether a text may become a piece.
        limit: most pieces to add; None: all that can be.
        equal: give all pieces one score, and add pieces that are missing on the way to others.
            Where the base merges characters of the new language itself, its merges have to come
            first, and the pieces are ordered all the same. A base with such pieces gets more.
    """
    have = {piece.piece for piece in base.pieces}
    unique = _characters_first(offered)
    new = [text for text in unique if text not in have]
    safe = [text for text in new if may_add(text)]
    is_equal = bool(equal or tied(base)) and not merges_itself(base, safe)
    if is_equal:
        made, helpers = formable(base, safe, may_add, limit=limit)
        chosen, score = made, score_above(base)
    else:
        made, helpers, score = reachable(base, safe), set[str](), None
        chosen = made if limit is None else _first(base, made, limit)
    lost = set(safe) - set(made) if limit is None or not is_equal else set[str]()
    return Extension(
        model=sentencepiece.appended(base, chosen, score=score),
        added=tuple(chosen),
        duplicates=len(unique) - len(new),
        could_move_base=len(new) - len(safe),
        unreachable=tuple(text for text in safe if text in lost),
        helpers=tuple(text for text in chosen if text in helpers),
        is_equal=is_equal,
    )


def append_all(base: Any, donor: Any) -> Extension:  # noqa: ANN401 - ModelProtos
    """Append the pieces of a second model as Chinese-LLaMA-Alpaca does, byte for byte.

    In the order of their ids, those whose text is there already left out, each with score 0
    (Cui et al. 2023, https://github.com/ymcui/Chinese-LLaMA-Alpaca, merge_tokenizers.py). Nothing
    is checked there: ids of the base language can change, and some pieces are never made.
    """
    have = {piece.piece for piece in base.pieces}
    added = [piece.piece for piece in donor.pieces if piece.piece not in have]
    model = sentencepiece.empty_model()
    model.CopyFrom(base)
    for text in added:
        model.pieces.add(piece=text, score=0.0)
    foreign = ForeignCharacters()
    made = _are_made(model, first=len(base.pieces))
    return Extension(
        model=model,
        added=tuple(added),
        duplicates=len(donor.pieces) - len(added),
        could_move_base=sum(not is_foreign(text, foreign) for text in added),
        unreachable=tuple(t for t, is_made in zip(added, made, strict=True) if not is_made),
        is_equal=True,
    )


def with_special_tokens(
    model: Any,  # noqa: ANN401 - a ModelProto
    names: Sequence[str],
    *,
    pad_to_multiple: int = 1,
) -> tuple[Any, int, int]:
    """Return a copy with special tokens added once, filled up to a multiple of entries.

    Returns:
        The model, how many special tokens were missing, how many unused ones fill it up.

    Raises:
        InputError: a name is an ordinary piece, whose texts would change.
    """
    types = {piece.piece: piece.type for piece in model.pieces}
    special = [text for text, kind in types.items() if kind in (CONTROL, USER_DEFINED)]
    missing = missing_names(names, special=special, entries=types)
    count = -(len(model.pieces) + len(missing)) % pad_to_multiple
    filling = reserved_names(count, taken={*types, *missing})
    changed = sentencepiece.empty_model()
    changed.CopyFrom(model)
    for name, kind in [*((n, CONTROL) for n in missing), *((n, UNUSED) for n in filling)]:
        changed.pieces.add(piece=name, score=0.0, type=kind)
    if missing or filling:
        changed.trainer_spec.vocab_size = len(changed.pieces)
    return changed, len(missing), len(filling)


def is_foreign(text: str, foreign: ForeignCharacters) -> bool:
    """Tell whether a piece holds a character that texts of the base language do not."""
    return any(character in foreign for character in text.replace(SPACE, ""))


def donor_pieces(donor: Any) -> list[str]:  # noqa: ANN401 - a ModelProto
    """Return the pieces of another model, best first: by score, then by id."""
    order = sorted(
        (index for index, piece in enumerate(donor.pieces) if piece.type == NORMAL),
        key=lambda index: (-donor.pieces[index].score, index),
    )
    return [donor.pieces[index].piece for index in order]


def _characters_first(texts: Iterable[str]) -> list[str]:
    """Return every text once, and before each the characters in it that are offered as well."""
    texts = list(texts)
    characters = {text for text in texts if len(text) == 1}
    ordered = (part for text in texts for part in (*(c for c in text if c in characters), text))
    return list(dict.fromkeys(ordered))


def reachable(
    base: Any,  # noqa: ANN401 - a ModelProto
    texts: list[str],
    *,
    score: float | None = None,
) -> list[str]:
    """Return the pieces that their own text is encoded to, with only such pieces added."""
    while True:
        model = sentencepiece.appended(base, texts, score=score)
        made = _are_made(model, first=len(base.pieces))
        found = [text for text, is_made in zip(texts, made, strict=True) if is_made]
        if len(found) == len(texts):
            return found
        texts = found  # a piece may have been made by way of one that is gone now


def _first(base: Any, texts: list[str], limit: int) -> list[str]:  # noqa: ANN401 - a ModelProto
    """Return the first `limit` pieces that need none of the others to be made."""
    chosen: list[str] = []
    while len(chosen) < limit and texts:
        wanted = limit - len(chosen)
        chosen, texts = reachable(base, chosen + texts[:wanted]), texts[wanted:]
    return chosen


def _are_made(model: Any, *, first: int) -> list[bool]:  # noqa: ANN401 - a ModelProto
    """Tell for each piece from an id on if its text is encoded to it, here and in `tokenizers`.

    SentencePiece merges two characters even where they are no pieces themselves; a merge list, as
    `tokenizer.json` has it, cannot. So all characters of a piece have to be pieces.
    """
    characters = {piece.piece for piece in model.pieces if len(piece.piece) == 1}
    texts = [piece.piece for piece in list(model.pieces)[first:]]
    processor = sentencepiece.processor(model, dummy_prefix=False)
    encoded = processor.encode([text.replace(SPACE, " ") for text in texts])
    return [
        ids == [first + index] and characters.issuperset(texts[index])
        for index, ids in enumerate(encoded)
    ]
