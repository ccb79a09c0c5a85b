"""What is in a SentencePiece model?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error

SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # types of pieces
UNIGRAM, BPE = 1, 2  # types of models
OUTLIER = -1e8  # LLaMA gives runs of spaces a score of -1e9, so that they merge last


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


def processor(model: Any, *, dummy_prefix: bool = True) -> Any:  # noqa: ANN401
    """Return SentencePiece itself, loaded with a ModelProto.

    Args:
        model: the model.
        dummy_prefix: put a space before every text, if the model does; False: never.

    Raises:
        InputError: the model contradicts itself.
    """
    module = require("sentencepiece", extra="train", purpose="using a SentencePiece model")
    if not dummy_prefix:
        changed = empty_model()
        changed.CopyFrom(model)
        changed.normalizer_spec.add_dummy_prefix = False
        model = changed
    try:
        return module.SentencePieceProcessor(model_proto=model.SerializeToString())
    except RuntimeError as error:  # two pieces of one text, bytes without byte fallback, ...
        raise InputError(
            "SentencePiece refuses a tokenizer.model",
            why=str(error),
            fix="take the file of the model's makers, or train one: "
            "hanlin tokenizer train FILE --vocab-size N --out DIR",
        ) from error


def appended(
    base: Any,  # noqa: ANN401 - a ModelProto
    texts: Sequence[str],
    *,
    score: float | None = None,
) -> Any:  # noqa: ANN401 - a ModelProto
    """Return a copy of a model with pieces at its end.

    Args:
        base: the model.
        texts: of the pieces.
        score: of all of them; None: each scores below all before it.
    """
    model = empty_model()
    model.CopyFrom(base)
    scores = [p.score for p in base.pieces if p.type == NORMAL and p.score > OUTLIER]
    lowest = min(scores, default=0.0)
    for index, text in enumerate(texts):
        given = lowest - 1 - index if score is None else score
        model.pieces.add(piece=text, score=given, type=NORMAL)
    model.trainer_spec.vocab_size = len(model.pieces)
    return model


def shortest_processor(model: Any) -> Any:  # noqa: ANN401 - a SentencePieceProcessor
    """Return one that cuts texts into as few pieces of a BPE model as can be.

    No scores of the same pieces could need fewer tokens: it is the best path (Viterbi) of a
    unigram model with equal scores, free of the ways by which merges reach a piece.
    """
    free = empty_model()
    free.CopyFrom(model)
    free.trainer_spec.model_type = UNIGRAM
    for piece in free.pieces:
        if piece.type == NORMAL:
            piece.score = -1.0
    return processor(free)


def ids_of_type(model: Any, *kinds: int) -> list[int]:  # noqa: ANN401 - a ModelProto
    """Return the ids of all pieces of one type or of several, for example CONTROL."""
    return [index for index, piece in enumerate(model.pieces) if piece.type in kinds]
