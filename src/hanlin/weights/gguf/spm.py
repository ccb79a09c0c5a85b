"""How is a SentencePiece tokenizer, as LLaMA 1 and 2 and Mistral have it, told to llama.cpp?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.tokenization import backend, sentencepiece

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

UNUSED = 5  # gguf's token types have the numbers of SentencePiece's piece types


@dataclass(frozen=True)
class Vocabulary:
    """The entries of a tokenizer in llama.cpp's terms, one per id.

    Attributes:
        model: llama.cpp's name of the algorithm: "llama" (SentencePiece) or "gpt2" (byte-level).
        splitter: its name of the rule that cuts text into words.
        pieces: UTF-8 texts; as `tokenizer.json` has them.
        types: normal, unknown, control, user-defined, unused or byte.
        scores: of two SentencePiece merges, the one with the higher score comes first.
        merges: of two byte-level merges ("left right"), the one that stands first comes first.
        unknown_id: id of the unknown token, None where there is none.
        has_prefix: SentencePiece puts a space before the start of every text.
    """

    model: str
    splitter: str
    pieces: list[bytes]
    types: list[int]
    scores: list[float]
    merges: list[str]
    unknown_id: int | None
    has_prefix: bool


def sentencepiece_vocabulary(folder: Path, tokenizer: Tokenizer) -> Vocabulary:
    """Return the vocabulary of a SentencePiece tokenizer.

    Scores come from `tokenizer.model`. Where there is none (transformers 5 saves no more than
    `tokenizer.json`) the order of the merges says the same.

    Raises:
        InputError: it is no BPE, the two files disagree, or the merges are no SentencePiece's.
    """
    if tokenizer.spm_model is None:
        return _from_merges(tokenizer)
    file = folder / "tokenizer.model"
    model = sentencepiece.parse_model(tokenizer.spm_model, name=str(file))
    if model.trainer_spec.model_type != sentencepiece.BPE:
        raise InputError(
            f"{file} is not a byte-pair encoding",
            why="llama.cpp would merge its pieces in another order",
            fix="use a model whose tokenizer was trained as BPE, as LLaMA's is",
        )
    _check_agreement(file, model, tokenizer)
    unknown = sentencepiece.ids_of_type(model, sentencepiece.UNKNOWN)
    added = added_entries(tokenizer, range(len(model.pieces), tokenizer.vocab_size))
    return Vocabulary(
        model="llama",
        splitter="default",
        pieces=[p.piece.encode() for p in model.pieces] + [text for text, _ in added.values()],
        types=[p.type for p in model.pieces] + [kind for _, kind in added.values()],
        scores=[p.score for p in model.pieces] + [0.0] * len(added),
        merges=[],
        unknown_id=unknown[0] if unknown else None,
        has_prefix=model.normalizer_spec.add_dummy_prefix,
    )


def _check_agreement(file: Path, model: Any, tokenizer: Tokenizer) -> None:  # noqa: ANN401
    table = tokenizer.vocabulary
    for index, piece in enumerate(model.pieces):
        if table.get(piece.piece) != index:
            raise InputError(
                f"{file} and tokenizer.json disagree: the piece {piece.piece!r} has the id {index} "
                f"in one and {table.get(piece.piece)} in the other",
                why="they are of two different tokenizers",
                fix="copy both from the model that the weights were trained with",
            )


def added_entries(tokenizer: Tokenizer, ids: Iterable[int]) -> dict[int, tuple[bytes, int]]:
    """Return text and type of entries that are none of the model's own pieces, and of gaps."""
    texts = {index: text for text, index in tokenizer.vocabulary.items()}
    entries = {}
    for index in ids:
        if index not in texts:
            entries[index] = (f"[UNUSED{index}]".encode(), UNUSED)
        elif tokenizer.bytes_of(index):
            entries[index] = (texts[index].encode(), sentencepiece.USER_DEFINED)
        else:
            entries[index] = (texts[index].encode(), sentencepiece.CONTROL)
    return entries


def _from_merges(tokenizer: Tokenizer) -> Vocabulary:
    content = tokenizer.content
    vocab, unknown = content["model"]["vocab"], content["model"].get("unk_token")
    if _is_cut_into_words(content) or not content["model"].get("byte_fallback"):
        raise _no_sentencepiece(tokenizer, "it cuts text into words first, or has no byte fallback")
    scores = _scores(tokenizer)
    added = {token["id"] for token in content.get("added_tokens", ())}
    texts = {index: text for text, index in vocab.items() if index not in added}
    others = added_entries(tokenizer, (i for i in range(tokenizer.vocab_size) if i not in texts))
    if unknown in vocab:
        others[vocab[unknown]] = (unknown.encode(), sentencepiece.UNKNOWN)
    own = {index: (text.encode(), _type(tokenizer, index)) for index, text in texts.items()}
    entries = sorted((own | others).items())
    return Vocabulary(
        model="llama",
        splitter="default",
        pieces=[text for _, (text, _) in entries],
        types=[kind for _, (_, kind) in entries],
        scores=[scores.get(texts.get(index, ""), 0.0) for index, _ in entries],
        merges=[],
        unknown_id=vocab.get(unknown),
        has_prefix=backend.has_prefix(content),
    )


def _type(tokenizer: Tokenizer, index: int) -> int:
    return sentencepiece.BYTE if tokenizer.is_byte(index) else sentencepiece.NORMAL


def _is_cut_into_words(content: dict[str, Any]) -> bool:
    splitter = content.get("pre_tokenizer")
    return splitter is not None and (splitter["type"] != "Metaspace" or splitter.get("split", True))


def _scores(tokenizer: Tokenizer) -> dict[str, float]:
    """Return scores by which SentencePiece merges in the order of a list of merges.

    SentencePiece knows no pairs: it merges any two neighbors whose union is a piece, the piece of
    the highest score first. So each cut of a piece into two must be in the list, and all cuts of
    one piece must stand together; only runs of spaces, which LLaMA gives one score, may mix.

    Raises:
        InputError: the list is no such one.
    """
    vocab = tokenizer.content["model"]["vocab"]
    pairs = backend.plain(tokenizer.content, with_prefix=False)["model"]["merges"]
    results = [left + right for left, right in pairs]
    scores: dict[str, float] = {}
    is_mixed = False
    for rank, text in enumerate(results):
        if text in scores and results[rank - 1] != text:
            if text.strip(sentencepiece.SPACE):
                raise _no_sentencepiece(tokenizer, f"merges of {text!r} do not stand together")
            is_mixed = True
        scores.setdefault(text, -float(rank))
    if is_mixed:
        spaces = [text for text in scores if not text.strip(sentencepiece.SPACE)]
        scores |= dict.fromkeys(spaces, min(scores[text] for text in spaces))
    for text, listed in Counter(results).items():
        cuts = sum(text[:i] in vocab and text[i:] in vocab for i in range(1, len(text)))
        if cuts != listed:
            raise _no_sentencepiece(tokenizer, f"{listed} of {cuts} cuts of {text!r} are merges")
    return scores


def _no_sentencepiece(tokenizer: Tokenizer, why: str) -> InputError:
    return InputError(
        f"{tokenizer.path} has no tokenizer.model, and its tokenizer.json is none of SentencePiece",
        why=f"{why}; llama.cpp would make other token ids",
        fix="put the tokenizer.model that the model was made with beside tokenizer.json",
    )
