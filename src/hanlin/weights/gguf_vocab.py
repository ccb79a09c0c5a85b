"""What does llama.cpp need to know of a tokenizer, and of the prompt a model was trained with?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.models.manifest import read_manifest
from hanlin.prompts.jinja import chat_template
from hanlin.prompts.probe import check_probe
from hanlin.tokenization import sentencepiece

if TYPE_CHECKING:
    from hanlin.prompts.format import PromptFormat
    from hanlin.tokenization.load import Tokenizer

MANIFEST_KEY = "hanlin.manifest"
UNUSED = 5  # gguf's token types have the numbers of SentencePiece's piece types


@dataclass(frozen=True)
class Vocabulary:
    """The entries of a tokenizer in llama.cpp's terms, one per id.

    Attributes:
        pieces: UTF-8 texts; a space is `▁`, a byte `<0x0A>`.
        scores: of two merges, the one with the higher score comes first.
        types: normal, unknown, control, user-defined, unused or byte.
        unknown_id: id of the unknown token, None where there is none.
        has_prefix: SentencePiece puts a space before the start of every text.
    """

    pieces: list[bytes]
    scores: list[float]
    types: list[int]
    unknown_id: int | None
    has_prefix: bool


def read_vocabulary(folder: Path, tokenizer: Tokenizer) -> Vocabulary:
    """Return the vocabulary of a model folder, grown and added entries included.

    Raises:
        InputError: there is no `tokenizer.model`, it is not BPE, or `tokenizer.json` disagrees.
    """
    if tokenizer.spm_model is None:
        raise InputError(
            f"{folder} has no tokenizer.model",
            why="the GGUF export writes SentencePiece tokenizers, as LLaMA 1 and 2 have",
            fix="put the tokenizer.model that the model was made with beside tokenizer.json",
        )
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
    added = [_added(tokenizer, i) for i in range(len(model.pieces), tokenizer.vocab_size)]
    return Vocabulary(
        pieces=[p.piece.encode() for p in model.pieces] + [text for text, _ in added],
        scores=[p.score for p in model.pieces] + [0.0] * len(added),
        types=[p.type for p in model.pieces] + [kind for _, kind in added],
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


def _added(tokenizer: Tokenizer, index: int) -> tuple[bytes, int]:
    """Return text and type of an entry that only `tokenizer.json` has."""
    if index not in tokenizer.vocabulary.values():
        return f"[UNUSED{index}]".encode(), UNUSED
    is_special = not tokenizer.bytes_of(index)
    kind = sentencepiece.CONTROL if is_special else sentencepiece.USER_DEFINED
    return tokenizer.piece_of(index).encode(), kind


@dataclass(frozen=True)
class ChatSettings:
    """How llama.cpp turns a conversation into ids.

    Attributes:
        template: a Jinja template, None where the model has no prompt or no template can say it.
        add_bos: begin every text with the begin token.
        add_space_prefix: put a space before the start of a text, and after every special token in
            it, as `prompts.encode` does.
    """

    template: str | None
    add_bos: bool
    add_space_prefix: bool


def chat_settings(
    tokenizer: Tokenizer, format: PromptFormat | None, *, has_prefix: bool
) -> ChatSettings:
    """Return the settings that give the ids of training (`prompts.encode`) in llama.cpp."""
    has_bos = tokenizer.bos_id is not None
    if format is None:
        return ChatSettings(tokenizer.chat_template, has_bos, has_prefix)
    template = chat_template(format) if format.has_exact_borders else None
    return ChatSettings(template, has_bos and format.is_bos_first, has_prefix)


def prompt_format(folder: Path, tokenizer: Tokenizer) -> PromptFormat | None:
    """Return the prompt format that a model was tuned on, after checking its probe ids.

    Raises:
        InputError: the probe ids differ.
    """
    return check_probe(read_manifest(folder), tokenizer, where=f"{folder}/hanlin.json")


def add_vocabulary(writer: Any, folder: Path, tokenizer: Tokenizer) -> None:  # noqa: ANN401
    """Write the tokenizer and the prompt into a `gguf.GGUFWriter`.

    The whole `tokenizer.json` and `hanlin.json` go in too, so that one file is enough.
    """
    vocabulary = read_vocabulary(folder, tokenizer)
    format = prompt_format(folder, tokenizer)
    chat = chat_settings(tokenizer, format, has_prefix=vocabulary.has_prefix)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary.pieces)
    writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    if tokenizer.bos_id is not None:
        writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_eos_token_id(tokenizer.eos_id)
    writer.add_pad_token_id(tokenizer.pad_id)
    if vocabulary.unknown_id is not None:
        writer.add_unk_token_id(vocabulary.unknown_id)
    writer.add_add_bos_token(chat.add_bos)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(chat.add_space_prefix)
    if chat.template:
        writer.add_chat_template(chat.template)
    manifest = read_manifest(folder) or {"version": 1}
    manifest["tokenizer_sha256"] = tokenizer.sha256
    writer.add_string(MANIFEST_KEY, json.dumps(manifest, ensure_ascii=False, sort_keys=True))
    if (folder / "tokenizer.json").is_file():
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        writer.add_string("tokenizer.huggingface.json", text)
