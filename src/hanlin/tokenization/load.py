"""How is a tokenizer loaded, from whatever a folder has, and how does it turn text to ids and back?

The only place where tokenizers are loaded. `tokenizer.json` is the truth where there is one;
a bare `tokenizer.model` (SentencePiece) is converted in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error, read_json, write_atomic, write_json
from hanlin.tokenization import backend, sentencepiece
from hanlin.tokenization.hub import TOKENIZER_FILES, local_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BEGIN_NAMES, END_NAMES = ("<s>", "<|begin_of_text|>"), ("</s>", "<|end_of_text|>")


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to ids and back, exactly; made by `load`.

    Attributes:
        path: the folder or file it was loaded from.
        bos_id: id of the begin token, None where the tokenizer has none.
        eos_id: id of the end token.
        pad_id: id for padding; never the end token's.
        sha256: digest of `tokenizer.json`.
        spm_model: the bytes of `tokenizer.model`, None where there is none.
    """

    path: Path
    bos_id: int | None
    eos_id: int
    pad_id: int
    sha256: str
    spm_model: bytes | None = field(repr=False)
    _json: bytes = field(repr=False)
    _content: dict[str, Any] = field(repr=False)
    _settings: dict[str, Any] = field(repr=False)

    @property
    def vocab_size(self) -> int:
        """Return how many ids there are: the least number of rows a model needs."""
        return len(self._bytes)

    def encode(self, text: str, *, at_start: bool) -> list[int]:
        """Return the ids of plain text; no special token is added, none is made from the text.

        Args:
            text: any text; `</s>` in it is ordinary text.
            at_start: the text begins a document: SentencePiece's dummy space is put before it.
                False: it continues one, and its own spaces are all there is.
        """
        if not text:
            return []
        chosen = self._start if at_start else self._continuation
        ids: list[int] = chosen.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids made with `at_start=True`; special tokens are left out."""
        text = self.decode_continuation(ids)
        return text[1:] if self._has_prefix and text.startswith(" ") else text

    def decode_continuation(self, ids: Iterable[int]) -> str:
        """Return the text of ids made with `at_start=False`; special tokens are left out."""
        return b"".join(map(self.bytes_of, ids)).decode("utf-8", errors="replace")

    def bytes_of(self, token_id: int) -> bytes:
        """Return the bytes that one id stands for; b"" for special tokens."""
        return self._bytes[token_id]

    def piece_of(self, token_id: int) -> str:
        """Return the entry's text as the vocabulary has it (`▁` is a space)."""
        return self._pieces[token_id]

    def is_byte(self, token_id: int) -> bool:
        """Tell whether an id is a byte of a character that has no piece of its own."""
        return token_id in self._byte_ids

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Text -> id of all entries."""
        return backend.vocabulary(self._content)

    @cached_property
    def hf(self) -> PreTrainedTokenizerBase:
        """The same tokenizer as a transformers object (chat templates, saving, Trainer)."""
        transformers = require("transformers", extra="train", purpose="loading a tokenizer")
        names = ("bos_token", "eos_token", "unk_token")
        special = {name: _name(self._settings.get(name)) for name in names}
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=backend.build(self._content),
            pad_token=self.piece_of(self.pad_id),
            chat_template=self._settings.get("chat_template"),
            clean_up_tokenization_spaces=False,
            **{name: text for name, text in special.items() if text},
        )

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that is stored with it, if any."""
        return self._settings.get("chat_template")

    def save(self, folder: Path, *, chat_template: str | None = None) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and, if there is one, `tokenizer.model`.

        Args:
            folder: a model folder, made if missing.
            chat_template: a Jinja template that replaces the stored one.

        Raises:
            ResourceError: the disk is full or the folder cannot be written.
        """
        settings = {**self._settings, "pad_token": self.piece_of(self.pad_id)}
        # The file is the whole truth; named classes of transformers 5 rebuild it, not always alike.
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        if chat_template is not None:
            settings["chat_template"] = chat_template
        write_atomic(folder / "tokenizer.json", self._json)
        write_json(folder / "tokenizer_config.json", settings)
        if self.spm_model is not None:
            write_atomic(folder / "tokenizer.model", self.spm_model)

    @cached_property
    def _has_prefix(self) -> bool:
        return backend.has_prefix(self._content)

    @cached_property
    def _start(self) -> Any:  # noqa: ANN401 - a tokenizers.Tokenizer
        return backend.build(backend.plain(self._content, with_prefix=True))

    @cached_property
    def _continuation(self) -> Any:  # noqa: ANN401 - a tokenizers.Tokenizer
        return backend.build(backend.plain(self._content, with_prefix=False))

    @cached_property
    def _bytes(self) -> list[bytes]:
        return backend.piece_bytes(self._content)

    @cached_property
    def _pieces(self) -> dict[int, str]:
        return {index: text for text, index in self.vocabulary.items()}

    @cached_property
    def _byte_ids(self) -> frozenset[int]:
        names = (f"<0x{byte:02X}>" for byte in range(256))
        return frozenset(self.vocabulary[name] for name in names if name in self.vocabulary)


def load(path: str | Path) -> Tokenizer:
    """Load a tokenizer from a folder, a `tokenizer.model` or `tokenizer.json`, or a hub id.

    Raises:
        InputError: nothing is there, it is no tokenizer, or it has no end token.
    """
    source = local_folder(path, files=TOKENIZER_FILES, purpose="loading a tokenizer")
    folder = source if source.is_dir() else source.parent
    spm_file = _pick(source, "tokenizer.model", suffix=".model")
    json_file = _pick(source, "tokenizer.json", suffix=".json")
    if json_file is not None:
        content, data = _read_tokenizer_json(json_file)
        settings = _read_settings(folder)
        spm = _read_bytes(spm_file) if spm_file is not None else None
    elif spm_file is not None:
        model = sentencepiece.read_model(spm_file)
        content, settings = (
            sentencepiece.tokenizer_json(model),
            sentencepiece.tokenizer_config(model),
        )
        data, spm = to_bytes(content), _read_bytes(spm_file)
        settings |= {"chat_template": _read_settings(folder).get("chat_template")}
    else:
        raise InputError(
            f"{path} is no tokenizer",
            why="there is neither a tokenizer.json nor a tokenizer.model",
            fix="give a folder with one of them, or train one: "
            "hanlin tokenizer train FILE --vocab-size N --out DIR",
        )
    return _make(source, content=content, data=data, settings=settings, spm=spm)


def to_bytes(content: dict[str, Any]) -> bytes:
    """Return the bytes of a `tokenizer.json`, always the same for the same content."""
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _pick(source: Path, name: str, *, suffix: str) -> Path | None:
    """Return the file itself if `source` is of that kind, or the one of that name in the folder."""
    if source.is_file():
        return source if source.suffix == suffix else None
    return source / name if (source / name).is_file() else None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise os_error(error, path) from error


def _read_tokenizer_json(path: Path) -> tuple[dict[str, Any], bytes]:
    content = read_json(path)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        raise InputError(
            f"{path} is no tokenizer",
            why='it has no "model" with a "vocab" in it',
            fix="give a folder with the tokenizer.json of a model, or a tokenizer.model",
        )
    if "merges" not in model:
        raise InputError(
            f"{path} is a tokenizer of type {model.get('type')}, not a byte-pair encoding (BPE)",
            why="the tokenizers of LLaMA and its relatives are, and only those are supported",
            fix="take a model of the LLaMA family",
        )
    return content, _read_bytes(path)


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return `tokenizer_config.json`, completed from the older files beside it."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= read_json(folder / name)
    template = folder / "chat_template.jinja"
    if template.is_file():
        settings["chat_template"] = _read_bytes(template).decode("utf-8")
    return settings


def _make(
    path: Path, *, content: dict[str, Any], data: bytes, settings: dict[str, Any], spm: bytes | None
) -> Tokenizer:
    vocabulary = backend.vocabulary(content)
    bos = _find(settings, "bos_token", vocabulary, BEGIN_NAMES)
    eos = _find(settings, "eos_token", vocabulary, END_NAMES)
    if eos is None:
        raise InputError(
            f"the tokenizer in {path} has no end token",
            why="a model could never be taught to stop",
            fix='name it in tokenizer_config.json, for example {"eos_token": "</s>"}',
        )
    pad = _padding(settings, vocabulary, bos=bos, eos=eos)
    texts = {index: text for text, index in vocabulary.items()}
    settings = {k: v for k, v in settings.items() if v is not None} | {"eos_token": texts[eos]}
    if bos is not None:
        settings["bos_token"] = texts[bos]
    digest = hashlib.sha256(data).hexdigest()
    return Tokenizer(path, bos, eos, pad, digest, spm, data, content, settings)


def _padding(
    settings: dict[str, Any], vocabulary: dict[str, int], *, bos: int | None, eos: int
) -> int:
    """Return an id that may be masked out everywhere.

    LLaMA has no padding token; the unknown token never occurs in text with byte fallback.
    """
    named = [_find(settings, name, vocabulary, ()) for name in ("pad_token", "unk_token")]
    candidates = [*named, vocabulary.get("<unk>"), bos]
    return next((i for i in candidates if i is not None and i != eos), 0 if eos else 1)


def _find(
    settings: dict[str, Any], name: str, vocabulary: dict[str, int], usual: tuple[str, ...]
) -> int | None:
    """Return the id of a named special token, else of the first usual one that exists."""
    candidates = [_name(settings[name])] if name in settings else list(usual)
    return next((vocabulary[text] for text in candidates if text in vocabulary), None)


def _name(value: Any) -> str | None:  # noqa: ANN401 - text, or {"content": text}
    return value.get("content") if isinstance(value, dict) else value
