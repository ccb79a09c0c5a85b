"""How does a tokenizer.json get more special tokens, each of them once?"""

from __future__ import annotations

from collections.abc import Sequence

from hanlin.core.errors import InputError
from hanlin.tokenization import backend
from hanlin.tokenization.bpe import special_token
from hanlin.tokenization.load import Tokenizer, from_content


def with_special_tokens(
    tokenizer: Tokenizer, names: Sequence[str], *, pad_to_multiple: int = 1
) -> tuple[Tokenizer, int, int]:
    """Return a tokenizer with special tokens added once, filled up to a multiple of entries.

    Returns:
        The tokenizer, how many special tokens were missing, how many reserved ones fill it up.

    Raises:
        InputError: a name is an ordinary entry, whose texts would change.
    """
    special = backend.special_tokens(tokenizer.content)
    missing = [name for name in dict.fromkeys(names) if name not in special]
    for name in missing:
        if name in tokenizer.vocabulary:
            raise InputError(
                f"{name!r} cannot become a special token of {tokenizer.path}",
                why=f"it is the ordinary entry {tokenizer.vocabulary[name]}, which texts use",
                fix="choose another name, for example <|" + name.strip("<|>") + "|>",
            )
    padded = -(tokenizer.vocab_size + len(missing)) % pad_to_multiple
    taken = {*tokenizer.vocabulary, *missing}
    reserved = (f"<|reserved_{number}|>" for number in range(len(taken) + padded))
    filling = [name for name in reserved if name not in taken][:padded]
    vocab = dict(backend.vocabulary(tokenizer.content))
    added = list(tokenizer.content.get("added_tokens", ()))
    for index, name in enumerate([*missing, *filling], start=tokenizer.vocab_size):
        vocab[name] = index
        added.append(special_token(name, index))
    content = tokenizer.content | {
        "added_tokens": added, "model": tokenizer.content["model"] | {"vocab": vocab},
    }  # fmt: skip
    changed = from_content(content, settings=tokenizer.settings, path=tokenizer.path)
    return changed, len(missing), padded
