"""How does a tokenizer get more special tokens, each of them once?"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hanlin.core.errors import InputError
from hanlin.tokenization import backend
from hanlin.tokenization.bpe import special_token
from hanlin.tokenization.load import Tokenizer, from_content


def with_special_tokens(
    tokenizer: Tokenizer, names: Sequence[str], *, pad_to_multiple: int = 1
) -> tuple[Tokenizer, int, int]:
    """Return a tokenizer with special tokens added once, filled up to a multiple of entries.

    Only its `tokenizer.json` gets them; for a SentencePiece model see `pieces`.

    Returns:
        The tokenizer, how many special tokens were missing, how many reserved ones fill it up.

    Raises:
        InputError: a name is an ordinary entry, whose texts would change.
    """
    special, vocab = backend.special_tokens(tokenizer.content), dict(tokenizer.vocabulary)
    missing = missing_names(names, special=special, entries=vocab)
    count = -(tokenizer.vocab_size + len(missing)) % pad_to_multiple
    filling = reserved_names(count, taken={*vocab, *missing})
    added = list(tokenizer.content.get("added_tokens", ()))
    for index, name in enumerate([*missing, *filling], start=tokenizer.vocab_size):
        vocab[name] = index
        added.append(special_token(name, index))
    content = tokenizer.content | {
        "added_tokens": added, "model": tokenizer.content["model"] | {"vocab": vocab},
    }  # fmt: skip
    changed = from_content(content, settings=tokenizer.settings, path=tokenizer.path)
    return changed, len(missing), len(filling)


def missing_names(
    names: Sequence[str], *, special: Collection[str], entries: Collection[str]
) -> list[str]:
    """Return the names that are no special tokens yet, each once.

    Args:
        names: the special tokens that are wanted.
        special: texts of those that are there.
        entries: texts of all entries.

    Raises:
        InputError: a name is an ordinary entry, whose texts would change.
    """
    missing = [name for name in dict.fromkeys(names) if name not in special]
    for name in missing:
        if name in entries:
            raise InputError(
                f"{name!r} cannot become a special token",
                why="it is an ordinary entry of the tokenizer, which texts use",
                fix="choose another name, for example <|" + name.strip("<|>") + "|>",
            )
    return missing


def reserved_names(count: int, *, taken: Collection[str]) -> list[str]:
    """Return names of tokens that only fill a vocabulary up, none of which is taken."""
    names = (f"<|reserved_{number}|>" for number in range(len(taken) + count))
    return [name for name in names if name not in taken][:count]
