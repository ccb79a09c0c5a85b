"""What is in a SentencePiece model, and which `tokenizer.json` gives the same ids?

transformers 5 builds the merges of a `tokenizer.model` from the order of its ids and drops a
leading space, so `"  two  spaces"` and `" x"` come out wrong for LLaMA. The conversion here orders
merges by score, as SentencePiece does, and always prepends the dummy space.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error

SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
BPE = 2
ADD_PIECES = (
    "use LLaMA's own model or one that hanlin tokenizer train made; the pieces of this one can be "
    "added to such a model: hanlin tokenizer extend BASE --pieces FILE --out DIR"
)


def empty_model() -> Any:  # noqa: ANN401 - a generated protobuf class
    """Return an empty ModelProto."""
    require("google.protobuf", extra="train", purpose="reading a SentencePiece model")
    module = require(
        "sentencepiece.sentencepiece_model_pb2",
        extra="train",
        purpose="reading a SentencePiece model",
    )
    return module.ModelProto()


def read_model(path: Path) -> Any:  # noqa: ANN401 - a generated protobuf class
    """Read a `tokenizer.model`.

    Raises:
        InputError: the file is missing or is no SentencePiece model.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", fix="check the path") from error
    except OSError as error:
        raise os_error(error, path) from error
    return parse_model(data, name=str(path))


def parse_model(data: bytes, *, name: str) -> Any:  # noqa: ANN401 - a generated protobuf class
    """Parse the bytes of a SentencePiece model; `name` is for the message.

    Raises:
        InputError: they are something else.
    """
    model = empty_model()
    try:
        model.ParseFromString(data)
        is_model = len(model.pieces) > 0 and any(p.type == NORMAL for p in model.pieces)
    except Exception as error:  # protobuf's DecodeError; its class differs between versions
        raise _no_model(name) from error
    if not is_model:
        raise _no_model(name)
    return model


def _no_model(name: str) -> InputError:
    return InputError(
        f"{name} is not a SentencePiece model",
        why="it does not parse as one, or holds no pieces",
        fix="give a tokenizer.model, or train one: hanlin tokenizer train FILE --vocab-size N "
        "--out DIR",
    )


def processor(model: Any) -> Any:  # noqa: ANN401 - a SentencePieceProcessor
    """Return SentencePiece itself, loaded with a model proto."""
    module = require("sentencepiece", extra="train", purpose="using a SentencePiece model")
    return module.SentencePieceProcessor(model_proto=model.SerializeToString())


def ids_of_type(model: Any, kind: int) -> list[int]:  # noqa: ANN401 - a ModelProto
    """Return the ids of all pieces of one type, for example CONTROL."""
    return [index for index, piece in enumerate(model.pieces) if piece.type == kind]


def merges_of(model: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - a ModelProto
    """Return the merge list that does what SentencePiece's BPE does.

    SentencePiece merges the adjacent pair whose union is the piece of the highest score, wherever
    the pair was cut; so every cut of a piece into two pieces is a merge, in order of score.
    Control, unknown and byte pieces take no part: text can never become one of them.
    """
    usable = {
        piece.piece: index for index, piece in enumerate(model.pieces) if piece.type == NORMAL
    }
    ranked: list[tuple[float, int, int, int, str, str]] = []
    for text, index in usable.items():
        score = model.pieces[index].score
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in usable and right in usable:
                # Of equal scores (LLaMA's runs of spaces) the longer left part comes first.
                ranked.append((-score, -cut, usable[left], usable[right], left, right))
    ranked.sort()
    return [(left, right) for *_, left, right in ranked]


def tokenizer_json(model: Any) -> dict[str, Any]:  # noqa: ANN401 - a ModelProto
    """Return the content of a `tokenizer.json` that gives the same ids as the model.

    Raises:
        InputError: the model is no BPE, normalizes text, cuts off spaces, has no byte fallback, or
            has user-defined pieces: then ids would differ, or could not be turned back.
    """
    _refuse_lossy(model)
    special = sorted([*ids_of_type(model, UNKNOWN), *ids_of_type(model, CONTROL)])
    has_prefix = model.normalizer_spec.add_dummy_prefix
    normalizers: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    ]
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if has_prefix:
        normalizers.insert(0, {"type": "Prepend", "prepend": SPACE})
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special_token(model, index) for index in special],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "post_processor": _post_processor(model),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _model_section(model),
    }


def _refuse_lossy(model: Any) -> None:  # noqa: ANN401 - a ModelProto
    if model.trainer_spec.model_type != BPE:
        raise InputError(
            "this SentencePiece model is no byte-pair encoding (BPE)",
            why="LLaMA's tokenizers are, and only those are supported",
            fix=ADD_PIECES,
        )
    spec = model.normalizer_spec
    if spec.precompiled_charsmap or spec.remove_extra_whitespaces:
        raise InputError(
            f"this SentencePiece model normalizes text ({spec.name or 'its own rules'})",
            why="ids could not be turned back into the same text",
            fix=ADD_PIECES,
        )
    if ids_of_type(model, USER_DEFINED):
        raise InputError(
            f"this SentencePiece model has {len(ids_of_type(model, USER_DEFINED))} user-defined "
            "pieces",
            why="a tokenizer.json made from it would give other ids around them",
            fix="give a folder that has a tokenizer.json from the model's makers beside it",
        )
    if len(ids_of_type(model, BYTE)) != 256:
        raise InputError(
            "this SentencePiece model has no byte fallback",
            why="characters it does not know would all become the unknown token",
            fix="use a model trained with byte fallback, as LLaMA's is",
        )


def _special_token(model: Any, index: int) -> dict[str, Any]:  # noqa: ANN401 - a ModelProto
    return {
        "id": index,
        "content": model.pieces[index].piece,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
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


def _model_section(model: Any) -> dict[str, Any]:  # noqa: ANN401 - a ModelProto
    unknown = ids_of_type(model, UNKNOWN)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.pieces[unknown[0]].piece if unknown else None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": {piece.piece: index for index, piece in enumerate(model.pieces)},
        "merges": [list(pair) for pair in merges_of(model)],
    }


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
