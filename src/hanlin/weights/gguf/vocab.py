"""What does llama.cpp need to know of a tokenizer, and of the prompt a model was trained with?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.models.manifest import read_manifest
from hanlin.prompts.jinja import chat_template
from hanlin.prompts.probe import check_probe
from hanlin.tokenization.backend import is_byte_level
from hanlin.weights.gguf.bpe import byte_level_vocabulary
from hanlin.weights.gguf.spm import Vocabulary, sentencepiece_vocabulary

if TYPE_CHECKING:
    from hanlin.prompts.format import PromptFormat
    from hanlin.tokenization.load import Tokenizer

MANIFEST_KEY = "hanlin.manifest"


def read_vocabulary(folder: Path, tokenizer: Tokenizer) -> Vocabulary:
    """Return the vocabulary of a model folder, grown and added entries included.

    Raises:
        InputError: llama.cpp has no way to give the same ids.
    """
    if is_byte_level(tokenizer.content):
        return byte_level_vocabulary(tokenizer)
    return sentencepiece_vocabulary(folder, tokenizer)


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
    joins_lines = is_byte_level(tokenizer.content) and format.eos_after == "last"
    template = None
    if format.has_exact_borders and not joins_lines:
        # Without a begin token llama.cpp would name some other one as `bos_token` to the template.
        template = chat_template(format, has_bos=has_bos)
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
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.splitter)
    writer.add_token_list(vocabulary.pieces)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
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
