"""Can this model be grown to that tokenizer, or what is to be done first?"""

from __future__ import annotations

from hanlin.core.errors import InputError
from hanlin.models.tensors import FLOATS, Checkpoint
from hanlin.tokenization import backend
from hanlin.tokenization.load import Tokenizer

EMBEDDINGS, LM_HEAD = "model.embed_tokens.weight", "lm_head.weight"


def check_tables(checkpoint: Checkpoint, old: Tokenizer, *, is_tied: bool) -> None:
    """Refuse tables that are missing, that are not float, or that lack rows of the old tokenizer.

    Raises:
        InputError: one of these.
    """
    names = [EMBEDDINGS] if is_tied else [EMBEDDINGS, LM_HEAD]
    for name in names:
        spec = checkpoint.specs.get(name)
        if spec is None:
            raise InputError(
                f"{checkpoint.folder} holds no tensor named {name!r}",
                why="the names of its tensors are not those of a LLaMA in the Hugging Face layout",
                fix="convert it first: hanlin weights convert IN OUT --to hf",
            )
        if spec.dtype not in FLOATS:
            raise InputError(
                f"{checkpoint.folder}: {name} is stored as {spec.dtype}",
                why="rows can be made of float numbers only, not of quantized ones",
                fix="take the model in float16, bfloat16 or float32",
            )
        if spec.shape[0] < old.vocab_size:
            raise InputError(
                f"{checkpoint.folder} has {spec.shape[0]} rows in {name} but its tokenizer has "
                f"{old.vocab_size} entries",
                why="its tokenizer was replaced by an extended one already; which rows stand for "
                "what can be told only from the one that the model was made with",
                fix="put the model's own tokenizer back into its folder, and give the extended "
                "one with --tokenizer",
            )


def check_extension(old: Tokenizer, new: Tokenizer) -> None:
    """Refuse a tokenizer that adds nothing, or whose first entries are not those of the old one.

    Raises:
        InputError: one of these.
    """
    families = [
        "byte-level" if backend.is_byte_level(tokenizer.content) else "SentencePiece"
        for tokenizer in (old, new)
    ]
    if families[0] != families[1]:
        raise InputError(
            f"the tokenizer in {new.path} is of another family than the one in {old.path}",
            why=f"it is a {families[1]} tokenizer, the model's own is a {families[0]} one: no "
            "entry stands for the same",
            fix=f"hanlin tokenizer extend {old.path} --corpus FILE --add N --out DIR",
        )
    count = min(old.vocab_size, new.vocab_size)
    same = (old.bytes_of(i) == new.bytes_of(i) for i in range(count))
    moved = next((index for index, is_same in enumerate(same) if not is_same), None)
    if new.vocab_size == old.vocab_size and moved is None:
        raise InputError(
            f"the tokenizer in {new.path} adds no piece to the one in {old.path}",
            why="both have the same entries: there is no row to grow",
            fix="take the model as it is, or give an extended tokenizer",
        )
    if new.vocab_size > old.vocab_size and moved is None:
        return
    what = (
        f"id {moved} is {old.piece_of(moved)!r} there and {new.piece_of(moved)!r} here"
        if (moved is not None)
        else f"it has {new.vocab_size} entries, the old one {old.vocab_size}"
    )
    raise InputError(
        f"the tokenizer in {new.path} does not extend the one in {old.path}",
        why=f"{what}; rows would stand for other pieces than they learned",
        fix=f"hanlin tokenizer extend {old.path} --corpus FILE --add N --out DIR",
    )
