"""Which `tokenizer.json` gives the same ids as a SentencePiece model?

transformers 5 builds the merges of a `tokenizer.model` from the order of its ids and drops a
leading space, so `"  two  spaces"` and `" x"` come out wrong for LLaMA. The conversion here orders
merges by score, as SentencePiece does, always prepends the dummy space, and cuts out first what
pieces of one score would take from the left (see `longest_match`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.longest_match import formed, longest_matches, pattern, way_to
from hanlin.tokenization.sentencepiece import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    SPACE,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    ids_of_type,
)  # fmt: skip

log = logging.getLogger(__name__)

NEVER = -1e9  # score of entries that no text may become; any path through characters beats it
ROUNDS = 20  # of mending the order of merges; two are enough for 11,000 pieces of Chinese
ADD_PIECES = (
    "use LLaMA's own model or one that hanlin tokenizer train made; the pieces of this one can be "
    "added to such a model: hanlin tokenizer extend BASE --pieces FILE --out DIR"
)

Merge = tuple[str, str]


def tokenizer_json(model: Any) -> dict[str, Any]:  # noqa: ANN401 - a ModelProto
    """Return the content of a `tokenizer.json` that gives the same ids as the model.

    Raises:
        InputError: the model is neither BPE nor unigram, normalizes text, cuts off spaces, has no
            byte fallback, or has user-defined pieces and a dummy space: then ids would differ, or
            could not be turned back.
    """
    kinds = [piece.type for piece in model.pieces]
    _refuse_lossy(model, kinds)
    listed = (UNKNOWN, CONTROL, UNUSED, USER_DEFINED)
    normalizers: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    ]
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if model.normalizer_spec.add_dummy_prefix:
        normalizers.insert(0, {"type": "Prepend", "prepend": SPACE})
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    is_bpe = model.trainer_spec.model_type == BPE
    section, splitter = _bpe_section(model) if is_bpe else (_unigram_section(model), None)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added_token(model, index, is_special=kind != USER_DEFINED)
            for index, kind in enumerate(kinds)
            if kind in listed
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": splitter,
        "post_processor": _post_processor(model),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": section,
    }


def _refuse_lossy(model: Any, kinds: list[int]) -> None:  # noqa: ANN401 - a ModelProto
    if model.trainer_spec.model_type not in (BPE, UNIGRAM):
        raise InputError(
            "this SentencePiece model is neither a byte-pair encoding (BPE) nor a unigram model",
            why="it cuts text into words or characters; LLaMA's tokenizers do not",
            fix=ADD_PIECES,
        )
    spec = model.normalizer_spec
    if spec.precompiled_charsmap or spec.remove_extra_whitespaces:
        raise InputError(
            f"this SentencePiece model normalizes text ({spec.name or 'its own rules'})",
            why="ids could not be turned back into the same text",
            fix=ADD_PIECES,
        )
    if USER_DEFINED in kinds and spec.add_dummy_prefix:
        raise InputError(
            f"this SentencePiece model has {kinds.count(USER_DEFINED)} user-defined pieces and "
            "puts a space before every text",
            why="a tokenizer.json made from it would put one after each of them too",
            fix="give a folder that has a tokenizer.json from the model's makers beside it",
        )
    if kinds.count(BYTE) != 256:
        raise InputError(
            "this SentencePiece model has no byte fallback",
            why="characters it does not know would all become the unknown token",
            fix="use a model trained with byte fallback, as LLaMA's is",
        )


def _added_token(model: Any, index: int, *, is_special: bool) -> dict[str, Any]:  # noqa: ANN401
    return {
        "id": index,
        "content": model.pieces[index].piece,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": is_special,
    }


def _post_processor(model: Any) -> dict[str, Any] | None:  # noqa: ANN401 - a ModelProto
    """Return the template that puts the begin token in front, as LLaMA does."""
    bos = model.trainer_spec.bos_id
    if not 0 <= bos < len(model.pieces):
        return None
    piece = model.pieces[bos].piece

    def first(sequence: str, type_id: int) -> list[dict[str, Any]]:
        return [
            {"SpecialToken": {"id": piece, "type_id": type_id}},
            {"Sequence": {"id": sequence, "type_id": type_id}},
        ]

    return {
        "type": "TemplateProcessing",
        "single": first("A", 0),
        "pair": [*first("A", 0), *first("B", 1)],
        "special_tokens": {piece: {"id": piece, "ids": [bos], "tokens": [piece]}},
    }


def _unigram_section(model: Any) -> dict[str, Any]:  # noqa: ANN401 - a ModelProto
    """Return the pieces with their scores; `tokenizers` would match special and byte pieces too."""
    unknown = ids_of_type(model, UNKNOWN)
    return {
        "type": "Unigram",
        "unk_id": unknown[0] if unknown else None,
        "vocab": [
            [piece.piece, piece.score if piece.type == NORMAL else NEVER] for piece in model.pieces
        ],
        "byte_fallback": True,
    }


def _bpe_section(model: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:  # noqa: ANN401
    """Return the sections "model" and "pre_tokenizer"."""
    vocabulary = {piece.piece: index for index, piece in enumerate(model.pieces)}
    merges, splitter = merges_of(model), None
    equal = tied(model)
    whole = _cut_out(model, equal) if equal else set()
    if whole:
        merges, torn = _ordered(merges, whole, equal, vocabulary)
        if torn:
            log.warning(
                "transformers will not make %d pieces, for example %r: their merges exclude each "
                "other, and tokenizer.json knows no equal scores", len(torn), torn[0],
            )  # fmt: skip
        splitter = {
            "type": "Split",
            "pattern": {"Regex": pattern(whole)},
            "behavior": "Isolated",
            "invert": False,
        }
    unknown = ids_of_type(model, UNKNOWN)
    section = {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.pieces[unknown[0]].piece if unknown else None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": [list(pair) for pair in merges],
    }
    return section, splitter


def merges_of(model: Any) -> list[Merge]:  # noqa: ANN401 - a ModelProto
    """Return the merge list that does what SentencePiece's BPE does.

    SentencePiece merges the adjacent pair whose union is the piece of the highest score, wherever
    the pair was cut; so every cut of a piece into two pieces is a merge, in order of score.
    Control, unknown and byte pieces take no part: text can never become one of them.
    """
    pieces = [(piece.piece, piece.score, piece.type) for piece in model.pieces]
    usable = {text: index for index, (text, _, kind) in enumerate(pieces) if kind == NORMAL}
    ranked: list[tuple[float, int, int, int, str, str]] = []
    for text, index in usable.items():
        score = pieces[index][1]
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in usable and right in usable:
                # Of equal scores (LLaMA's runs of spaces) the longer left part comes first.
                ranked.append((-score, -cut, usable[left], usable[right], left, right))
    ranked.sort()
    return [(left, right) for *_, left, right in ranked]


def tied(model: Any) -> set[str]:  # noqa: ANN401 - a ModelProto
    """Return the pieces that share the highest score, none if there is only one."""
    normal = [piece for piece in model.pieces if piece.type == NORMAL and len(piece.piece) > 1]
    highest = max((piece.score for piece in normal), default=0.0)
    equal = {piece.piece for piece in normal if piece.score == highest}
    return equal if len(equal) > 1 else set()


def _cut_out(model: Any, equal: Collection[str]) -> set[str]:  # noqa: ANN401 - a ModelProto
    """Return the pieces that may be cut out of a text before anything else is merged.

    Not those that a piece with a lower score takes in again later, nor any that would be cut out
    of the middle of one of those.
    """
    characters = {piece.piece for piece in model.pieces if len(piece.piece) == 1}
    taken = formed(equal)
    longest = max(map(len, taken), default=1)
    joined = {
        part
        for piece in reached(model) - taken
        for part in longest_matches(piece, taken, longest=longest)
        if len(part) > 1
    }
    joined |= {piece for piece in taken if not characters.issuperset(piece)}
    whole = taken - joined
    while joined:
        tails = {piece[start:] for piece in joined for start in range(len(piece))}
        starts = {tail[:end] for tail in tails for end in range(1, len(tail) + 1)}
        joined = {
            piece
            for piece in whole
            if piece in starts or any(piece[:end] in tails for end in range(1, len(piece)))
        }
        whole -= joined
    return whole


def reached(model: Any) -> set[str]:  # noqa: ANN401 - a ModelProto
    """Return the pieces of several characters that their own text is encoded to."""
    texts = [p.piece for p in model.pieces if p.type == NORMAL and len(p.piece) > 1]
    encoded = sentencepiece.processor(model, dummy_prefix=False).encode(
        [text.replace(SPACE, " ") for text in texts], out_type=str
    )
    return {text for text, pieces in zip(texts, encoded, strict=True) if pieces == [text]}


def _ordered(
    merges: list[Merge], whole: set[str], equal: Collection[str], vocabulary: dict[str, int]
) -> tuple[list[Merge], list[str]]:
    """Return merges in an order in which every piece that is cut out becomes itself.

    Merges of one score may stand in any order. Where another merge comes between, those that the
    piece needs move to the front. Pieces that this does not help are returned as well.
    """
    tokenizers = require("tokenizers", extra="train", purpose="converting a tokenizer")
    pieces, taken, torn = sorted(whole), formed(equal), list[str]()
    for _ in range(ROUNDS):
        bpe = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
        made = bpe.encode_batch_fast(pieces)
        torn = [p for p, got in zip(pieces, made, strict=True) if got.ids != [vocabulary[p]]]
        if not torn:
            break
        first = dict.fromkeys(pair for p in torn for pair in way_to(p, equal, taken) or ())
        merges = [*first, *(pair for pair in merges if pair not in first)]
    return merges, torn


def tokenizer_config(model: Any) -> dict[str, Any]:  # noqa: ANN401 - a ModelProto
    """Return the content of the `tokenizer_config.json` that belongs to it.

    The class is the generic one on purpose: `LlamaTokenizer` of transformers 5 throws away the
    normalizer in `tokenizer.json` and with it every leading space (see the module's docstring).
    """
    names = {"unk_token": model.trainer_spec.unk_id, "bos_token": model.trainer_spec.bos_id}
    names |= {"eos_token": model.trainer_spec.eos_id, "pad_token": model.trainer_spec.pad_id}
    tokens = {
        name: model.pieces[index].piece
        for name, index in names.items()
        if 0 <= index < len(model.pieces)
    }
    if "unk_token" in tokens:  # padding with the end token would teach a model never to end
        tokens.setdefault("pad_token", tokens["unk_token"])
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": "bos_token" in tokens,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
        **tokens,
    }
