"""How does a SentencePiece tokenizer (LLaMA 1 and 2) get pieces for a new language?

From a corpus, from a second model, or from both: the pieces of the second that save the most tokens
of the corpus. Every new piece is shown to be made: its own text is encoded to it, by SentencePiece
and by `tokenizers`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.tokenization import backend, sentencepiece
from hanlin.tokenization.choose import choose_pieces
from hanlin.tokenization.foreign import ForeignCharacters, is_one_word
from hanlin.tokenization.load import Tokenizer, from_model
from hanlin.tokenization.pieces import (
    Extension,
    append_all,
    donor_pieces,
    extend_model,
    is_foreign,
    with_special_tokens,
)
from hanlin.tokenization.sentencepiece import SPACE, UNIGRAM
from hanlin.tokenization.sentencepiece_json import tied

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Rules:
    """What may be added.

    Attributes:
        control: texts of the base language, whose ids must not change; read once.
        limit: most pieces; None: all that can be.
        allow_changed: pieces too that could match texts of the base language.
        whole_words: of a corpus, only pieces that are all letters or all signs.
    """

    control: Iterable[str] = ()
    limit: int | None = None
    allow_changed: bool = False
    whole_words: bool = True


def extend(
    base: Tokenizer,
    offered: Sequence[str],
    *,
    control: Iterable[str] = (),
    limit: int | None = None,
    equal: bool = False,
    allow_changed: bool = False,
) -> Extension:
    """Extend the model inside a tokenizer; see `pieces.extend_model`.

    Raises:
        InputError: the tokenizer is no SentencePiece BPE, or no offered piece can be added.
    """
    model = base_model(base)
    may_add = _judge(model, control, allow_changed=allow_changed)
    return _checked(extend_model(model, offered, may_add=may_add, limit=limit, equal=equal), limit)


def extend_from_corpus(
    base: Tokenizer,
    lines: Sequence[str],
    *,
    rules: Rules,
    within: Collection[str] | None = None,
    progress: Progress = lambda _done, _total, _text: None,
) -> Extension:
    """Add the pieces that save the most tokens of a corpus; `rules.limit` says how many.

    Args:
        base: the tokenizer.
        lines: the corpus, or a sample of it.
        rules: what may be added.
        within: texts to choose from; None: any.
        progress: called with (done, total, text).

    Raises:
        InputError: the tokenizer is no SentencePiece BPE, or no piece can be added.
    """
    assert rules.limit is not None
    model = base_model(base)
    is_safe = _judge(model, rules.control, allow_changed=rules.allow_changed)

    def may_add(text: str) -> bool:
        if within is not None:
            return text in within and is_safe(text)
        is_good = not rules.whole_words or is_one_word(text.replace(SPACE, " "))
        return is_good and is_safe(text)

    chosen = choose_pieces(model, lines, add=rules.limit, may_add=may_add, progress=progress)
    return _checked(extend_model(model, chosen, may_add=may_add), rules.limit)


def _judge(
    model: Any,  # noqa: ANN401 - a ModelProto
    control: Iterable[str],
    *,
    allow_changed: bool,
) -> Callable[[str], bool]:
    """Return what tells whether a piece leaves texts of the base language alone, if it must.

    Raises:
        InputError: it need not, but the base has pieces with one score.
    """
    if not allow_changed:
        foreign = ForeignCharacters(control)
        return lambda text: is_foreign(text, foreign)
    if tied(model):
        raise InputError(
            "pieces that change ids of the base language cannot be added to this tokenizer",
            why="its newest pieces share one score, and such a piece would come before all merges "
            "of the base",
            fix="leave allow_changed out, or add them to the base before the others",
        )
    return lambda _text: True


def extend_from_model(base: Tokenizer, donor: Any, *, rules: Rules) -> Extension:  # noqa: ANN401
    """Add the pieces of a second model, the most probable first.

    Those of a unigram model get one score: they have no order of merging.

    Raises:
        InputError: the tokenizer is no SentencePiece BPE, or no piece can be added.
    """
    return extend(
        base,
        donor_pieces(donor),
        control=rules.control,
        limit=rules.limit,
        equal=donor.trainer_spec.model_type == UNIGRAM and not rules.allow_changed,
        allow_changed=rules.allow_changed,
    )


def extend_as_chinese_llama(base: Tokenizer, donor: Any) -> Extension:  # noqa: ANN401
    """Add the pieces of a second model by the published rule; see `pieces.append_all`.

    Raises:
        InputError: the tokenizer is no SentencePiece BPE, or no piece can be added.
    """
    return _checked(append_all(base_model(base), donor), None)


def _checked(extension: Extension, limit: int | None) -> Extension:
    if not extension.added:
        raise InputError(
            "not one of the offered pieces can be added",
            why=f"{extension.duplicates} are in the base already, {extension.could_move_base} "
            f"have no character that the base language lacks, {len(extension.unreachable)} cannot "
            "be reached by merges",
            fix="give texts of a language in another script, or more of them",
        )
    if limit is not None and len(extension.added) < limit:
        log.warning(
            "%d pieces were added, not %d: the texts hold no more that can be; give more text",
            len(extension.added), limit,
        )  # fmt: skip
    return extension


def base_model(base: Tokenizer) -> Any:  # noqa: ANN401 - a ModelProto
    """Return the SentencePiece model of a tokenizer that can be extended.

    Raises:
        InputError: it has none, is no BPE, or `tokenizer.json` holds more than the model.
    """
    if base.spm_model is None:
        raise InputError(
            f"the tokenizer in {base.path} cannot be extended",
            why="it has no tokenizer.model, and it is no byte-level BPE as LLaMA 3's is",
            fix="take a base with a tokenizer.model, or one of the families of LLaMA and Qwen",
        )
    model = sentencepiece.parse_model(base.spm_model, name=str(base.path))
    if model.trainer_spec.model_type != sentencepiece.BPE:
        raise InputError(
            f"the tokenizer in {base.path} is a unigram model, not a BPE",
            why="new pieces would change how texts of the base language are cut",
            fix="take a base with a BPE tokenizer, as LLaMA's is",
        )
    if len(model.pieces) != base.vocab_size:
        raise InputError(
            f"{base.path}: tokenizer.model has {len(model.pieces)} pieces, tokenizer.json has "
            f"{base.vocab_size}",
            why="tokens were added to one of them only, and their ids would be taken twice",
            fix="remove the wrong one of the two files",
        )
    return model


def write(base: Tokenizer, extension: Extension, folder: Path) -> Tokenizer:
    """Write the extended tokenizer as a folder; chat template and settings of the base are kept."""
    tokenizer, _, _ = finished(base, extension)
    tokenizer.save(folder)
    return tokenizer


def finished(
    base: Tokenizer,
    extension: Extension,
    *,
    special: Sequence[str] = (),
    pad_to_multiple: int = 1,
) -> tuple[Tokenizer, int, int]:
    """Return the extended tokenizer with special tokens, and filled up to a multiple.

    Returns:
        The tokenizer, how many special tokens were missing, how many unused ones fill it up.

    Raises:
        InputError: a special token has the name of a piece.
    """
    model, added, padded = with_special_tokens(
        extension.model, special, pad_to_multiple=pad_to_multiple
    )
    return from_model(model, settings=base.settings, path=base.path), added, padded


def unproven(tokenizer: Tokenizer, ids: Iterable[int]) -> list[str]:
    """Return those pieces that their own text is not encoded to, by one of both libraries."""
    texts = {index: tokenizer.bytes_of(index).decode() for index in ids}
    encoders = (tokenizer.encoder, backend.tokenizers_encoder(tokenizer.content))
    encoded = [encoder.many(list(texts.values())) for encoder in encoders]
    return [
        tokenizer.piece_of(index)
        for index, *made in zip(texts, *encoded, strict=True)
        if any(ids != [index] for ids in made)
    ]
