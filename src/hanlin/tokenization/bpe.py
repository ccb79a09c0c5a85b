"""How is a byte-level BPE tokenizer, as LLaMA 3 and Qwen have it, trained on texts?

hanlin tokenizer train corpus.txt --type byte-bpe --vocab-size 8000 --out my-tokenizer

Byte-level BPE: Radford et al. 2019 (GPT-2). No text is unknown and none is normalized, so every
text comes back exactly.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.extras import require
from hanlin.tokenization.load import from_content

log = logging.getLogger(__name__)

# Text is first cut into words by these; no token spans two words. Both are copied from the
# makers' tokenizer.json, so that llama.cpp knows them by its own names "llama-bpe" and "qwen2".
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = 256


@dataclass(frozen=True)
class Style:
    """What tells one family of byte-level tokenizers from another.

    Attributes:
        words: regular expression of the words that text is cut into.
        bos, eos, pad: names of the special tokens; `bos` is None where texts begin without one.
        ignore_merges: a word that is an entry as a whole is taken at once.
    """

    words: str
    bos: str | None
    eos: str
    pad: str
    ignore_merges: bool


STYLES = {
    "llama3": Style(
        words=_WORDS.replace("DIGITS", r"\p{N}{1,3}"),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        pad="<|finetune_right_pad_id|>",
        ignore_merges=True,
    ),
    "qwen2": Style(
        words=_WORDS.replace("DIGITS", r"\p{N}"),
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        ignore_merges=False,
    ),
}


def train_byte_bpe(
    texts: Iterable[str],
    *,
    vocab_size: int,
    out: Path,
    style: str = "llama3",
    special_tokens: Sequence[str] = (),
) -> Path:
    """Train a byte-level BPE tokenizer and write a complete folder that transformers loads.

    The texts are streamed; memory grows with the number of different words. Nothing is drawn at
    random: the same texts give the same bytes. Special tokens come last.

    Args:
        texts: the corpus.
        vocab_size: entries wanted, the 256 bytes and special tokens included; fewer, with a
            warning, where the corpus cannot fill them.
        out: the folder.
        style: "llama3" (numbers cut into groups of three digits) or "qwen2" (single digits).
        special_tokens: more special tokens, behind the style's own.

    Raises:
        InputError: the corpus holds no text.
        ConfigError: the vocabulary is too small for bytes and special tokens, or the style is
            unknown.
    """
    chosen = _style(style)
    own = [name for name in (chosen.bos, chosen.eos, chosen.pad) if name is not None]
    special = list(dict.fromkeys([*own, *special_tokens]))
    if vocab_size <= BYTES + len(special):
        raise ConfigError(
            f"a vocabulary of {vocab_size} is too small",
            why=f"{BYTES + len(special)} entries are taken by bytes and special tokens",
            fix=f"ask for more than {BYTES + len(special)}, for example 2000",
        )
    model = _train(texts, chosen, vocab_size - len(special))
    if len(model["vocab"]) + len(special) < vocab_size:
        log.warning(
            "the tokenizer has %d entries, not %d: the corpus holds no more repeated pieces; "
            "give more text for a larger vocabulary",
            len(model["vocab"]) + len(special), vocab_size,
        )  # fmt: skip
    content, settings = byte_bpe_json(model, chosen, special), byte_bpe_settings(chosen)
    from_content(content, settings=settings, path=out).save(out)
    return out


def _style(name: str) -> Style:
    if name not in STYLES:
        raise ConfigError(f"unknown style {name!r}", fix=f"use one of {', '.join(STYLES)}")
    return STYLES[name]


def _train(texts: Iterable[str], style: Style, vocab_size: int) -> dict[str, Any]:
    """Return the "model" section of a `tokenizer.json`: the entries and the merges."""
    tokenizers = require("tokenizers", extra="train", purpose="training a tokenizer")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=style.ignore_merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(style.words), behavior="isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
    )
    has_text = False

    def noted() -> Iterator[str]:
        nonlocal has_text
        for text in texts:
            has_text = has_text or bool(text.strip())
            yield text

    tokenizer.train_from_iterator(noted(), trainer)
    if not has_text:
        raise InputError(
            "the corpus for the tokenizer is empty",
            why="there is no text in it",
            fix="give files with text in them",
        )
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return model


def byte_bpe_json(model: dict[str, Any], style: Style, special: Sequence[str]) -> dict[str, Any]:
    """Return a whole `tokenizer.json`.

    The special tokens are entries of the model too: a reader numbers those that are not by the
    count of entries, which would move them once the vocabulary is extended.
    """
    vocab = model["vocab"] | {
        name: index for index, name in enumerate(special, start=len(model["vocab"]))
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special_token(name, vocab[name]) for name in special],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": style.words},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {**byte_level, "use_regex": False},
            ],
        },
        "post_processor": None if style.bos is None else _begin_with(style.bos, vocab[style.bos]),
        "decoder": {**byte_level, "use_regex": True},
        "model": model | {"vocab": vocab},
    }


def special_token(name: str, index: int) -> dict[str, Any]:
    """Return the entry of a special token in the section "added_tokens"."""
    return {
        "id": index, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    }  # fmt: skip


def _begin_with(name: str, index: int) -> dict[str, Any]:
    """Return the post-processor that puts the begin token in front."""

    def first(sequence: str, type_id: int) -> list[dict[str, Any]]:
        return [
            {"SpecialToken": {"id": name, "type_id": type_id}},
            {"Sequence": {"id": sequence, "type_id": type_id}},
        ]

    return {
        "type": "TemplateProcessing",
        "single": first("A", 0),
        "pair": [*first("A", 0), *first("B", 1)],
        "special_tokens": {name: {"id": name, "ids": [index], "tokens": [name]}},
    }


def byte_bpe_settings(style: Style) -> dict[str, Any]:
    """Return the content of `tokenizer_config.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
        "bos_token": style.bos,
        "eos_token": style.eos,
        "pad_token": style.pad,
    }
