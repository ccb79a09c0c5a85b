"""How is a tokenizer loaded, from whatever a folder has, and how does it turn text to ids and back?

The only place where tokenizers are loaded. `tokenizer.json` is the truth where there is one;
a bare `tokenizer.model` (SentencePiece) is converted in memory. Where the two are known to agree,
SentencePiece itself encodes, because it is several times as fast as `tokenizers`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error, read_json, write_atomic, write_json
from hanlin.tokenization import backend, sentencepiece, sentencepiece_json
from hanlin.tokenization.hub import TOKENIZER_FILES, local_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from transformers import PreTrainedTokenizerBase

BEGIN_NAMES = ("<s>", "<|begin_of_text|>")
END_NAMES = ("</s>", "<|end_of_text|>", "<|endoftext|>")
UNUSED_NAMES = ("pad", "unused", "reserved")  # in special tokens that no text is taught with
AGREEMENT = "tokenizer_model_agrees"  # key in tokenizer_config.json: digest of both files


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
        is_spm_equal: `tokenizer.model` is known to give the ids of `tokenizer.json`.
    """

    path: Path
    bos_id: int | None
    eos_id: int
    pad_id: int
    sha256: str
    spm_model: bytes | None = field(repr=False)
    is_spm_equal: bool
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
        ids: list[int] = self.encoder.one(self._dummy_space + text if at_start else text)
        return ids

    def encode_batch(self, texts: Sequence[str], *, at_start: bool) -> list[list[int]]:
        """Return the ids of each of many texts, as `encode` does; faster, on all cores."""
        return self.encoder.many(self._begun(texts, at_start))

    def encode_arrays(self, texts: Sequence[str], *, at_start: bool) -> list[npt.NDArray[np.int32]]:
        """Return the ids of each of many texts as arrays, as `encode` does; the fastest way."""
        return self.encoder.arrays(self._begun(texts, at_start))

    def _begun(self, texts: Sequence[str], at_start: bool) -> list[str]:
        """Return the texts with the dummy space, where one is wanted."""
        if at_start and self._dummy_space:
            return [self._dummy_space + text if text else "" for text in texts]
        return list(texts)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids made with `at_start=True`; special tokens are left out."""
        text = self.decode_continuation(ids)
        return text.removeprefix(self._dummy_space)

    def decode_continuation(self, ids: Iterable[int]) -> str:
        """Return the text of ids made with `at_start=False`; special tokens are left out."""
        return b"".join(map(self.bytes_of, ids)).decode("utf-8", errors="replace")

    def bytes_of(self, token_id: int) -> bytes:
        """Return the bytes that one id stands for; b"" for special tokens."""
        return self._bytes[token_id]

    def piece_of(self, token_id: int) -> str:
        """Return the entry's text as the vocabulary has it (`▁` is a space)."""
        return self._pieces[token_id]

    def special_id(self, name: str) -> int | None:
        """Return the id of a special token, which no text gives; None where there is none."""
        return self._special_ids.get(name)

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
    def content(self) -> dict[str, Any]:
        """What `tokenizer.json` holds; shared, not to be changed."""
        return self._content

    @property
    def settings(self) -> dict[str, Any]:
        """What `tokenizer_config.json` holds, with the special tokens that were found."""
        return {**self._settings, "pad_token": self.piece_of(self.pad_id)}

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
        settings = self.settings
        # The file is the whole truth; named classes of transformers 5 rebuild it, not always alike.
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        if chat_template is not None:
            settings["chat_template"] = chat_template
        if self.is_spm_equal and self.spm_model is not None:
            settings[AGREEMENT] = _digest(self._json, self.spm_model)
        write_atomic(folder / "tokenizer.json", self._json)
        write_json(folder / "tokenizer_config.json", settings)
        if self.spm_model is not None:
            write_atomic(folder / "tokenizer.model", self.spm_model)

    @cached_property
    def _dummy_space(self) -> str:
        """The space before every text, "" where there is none; no backend puts it by itself."""
        return " " if backend.has_prefix(self._content) else ""

    @cached_property
    def encoder(self) -> backend.Encoder:
        """What encodes: SentencePiece where it gives the ids of `tokenizer.json`."""
        if self.is_spm_equal and self.spm_model is not None:
            model = sentencepiece.parse_model(self.spm_model, name=str(self.path))
            return backend.sentencepiece_encoder(model)
        return backend.tokenizers_encoder(self._content)

    @cached_property
    def _bytes(self) -> list[bytes]:
        return backend.piece_bytes(self._content)

    @cached_property
    def _pieces(self) -> dict[int, str]:
        return {index: text for text, index in self.vocabulary.items()}

    @cached_property
    def _special_ids(self) -> dict[str, int]:
        return backend.special_tokens(self._content)

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
        spm = _read_bytes(spm_file) if spm_file is not None else None
        return _make(source, content=content, data=data, settings=_read_settings(folder), spm=spm)
    if spm_file is not None:
        settings = {"chat_template": _read_settings(folder).get("chat_template")}
        model = sentencepiece.read_model(spm_file)
        return from_model(model, settings=settings, path=source, data=_read_bytes(spm_file))
    raise InputError(
        f"{path} is no tokenizer",
        why="there is neither a tokenizer.json nor a tokenizer.model",
        fix="give a folder with one of them, or train one: "
        "hanlin tokenizer train FILE --vocab-size N --out DIR",
    )


def from_model(
    model: Any,  # noqa: ANN401 - a ModelProto
    *,
    settings: dict[str, Any],
    path: Path,
    data: bytes | None = None,
) -> Tokenizer:
    """Return the tokenizer of a SentencePiece model.

    Args:
        model: a ModelProto.
        settings: entries of `tokenizer_config.json` that the model does not say.
        path: where it is or will be saved, for messages.
        data: the bytes of its file; None: it has none yet.

    Raises:
        InputError: see `sentencepiece_json.tokenizer_json`.
    """
    content = sentencepiece_json.tokenizer_json(model)
    written, spm = to_bytes(content), model.SerializeToString() if data is None else data
    settings = sentencepiece_json.tokenizer_config(model) | settings
    settings[AGREEMENT] = _digest(written, spm)
    return _make(path, content=content, data=written, settings=settings, spm=spm)


def from_content(content: dict[str, Any], *, settings: dict[str, Any], path: Path) -> Tokenizer:
    """Return the tokenizer of a new `tokenizer.json` that has no `tokenizer.model`.

    Args:
        content: of `tokenizer.json`.
        settings: of `tokenizer_config.json`.
        path: where it will be saved, for messages.

    Raises:
        InputError: it has no end token.
    """
    return _make(path, content=content, data=to_bytes(content), settings=settings, spm=None)


def to_bytes(content: dict[str, Any]) -> bytes:
    """Return the bytes of a `tokenizer.json`, always the same for the same content.

    One section to a line: with an indent, Python's encoder takes 30 times as long.
    """
    parts = (f"{json.dumps(key)}: {_compact(part)}" for key, part in content.items())
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _compact(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _read_tokenizer_json(path: Path) -> tuple[dict[str, Any], bytes]:
    content = read_json(path)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        raise InputError(
            f"{path} is no tokenizer",
            why='it has no "model" with a "vocab" in it',
            fix="give a folder with the tokenizer.json of a model, or a tokenizer.model",
        )
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind not in ("BPE", "Unigram") or (kind == "BPE" and "merges" not in model):
        raise InputError(
            f"{path} is a tokenizer of type {kind}, neither byte-pair encoding (BPE) nor unigram",
            why="the tokenizers of LLaMA and its relatives are, and only those are supported",
            fix="take a model of the LLaMA family",
        )
    if kind == "Unigram" and not model.get("byte_fallback"):
        raise InputError(
            f"{path} is a unigram tokenizer without byte fallback",
            why="characters it does not know would all become the unknown token",
            fix="use one that was trained with byte fallback: "
            "hanlin tokenizer train FILE --type unigram --vocab-size N --out DIR",
        )
    return content, _read_bytes(path)


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return `tokenizer_config.json`, completed from the older files beside it."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            found = read_json(folder / name)
            if not isinstance(found, dict):
                raise InputError(
                    f"{folder / name} holds no settings",
                    why=f"it is a {type(found).__name__}, not a table of names and values",
                    fix="copy or download the file again, or remove it",
                )
            settings |= found
    template = folder / "chat_template.jinja"
    if template.is_file():
        settings["chat_template"] = _read_bytes(template).decode("utf-8", errors="replace")
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
    special = backend.special_tokens(content)
    pad = _padding(settings, vocabulary, special, bos=bos, eos=eos)
    texts = {index: text for text, index in vocabulary.items()}
    settings = {k: v for k, v in settings.items() if v is not None} | {"eos_token": texts[eos]}
    if bos is not None:
        settings["bos_token"] = texts[bos]
    agreed = settings.pop(AGREEMENT, None)
    is_equal = spm is not None and agreed == _digest(data, spm)
    return Tokenizer(path, bos, eos, pad, _digest(data), spm, is_equal, data, content, settings)


def _padding(
    settings: dict[str, Any],
    vocabulary: dict[str, int],
    special: dict[str, int],
    *,
    bos: int | None,
    eos: int,
) -> int:
    """Return an id that may be masked out everywhere, never the end token's.

    LLaMA has no padding token; the unknown token never occurs in text with byte fallback. LLaMA 3
    and Qwen have neither, but special tokens that are not used.
    """
    named = [_find(settings, name, vocabulary, ()) for name in ("pad_token", "unk_token")]
    unused = [i for word in UNUSED_NAMES for text, i in special.items() if word in text.lower()]
    candidates = [*named, vocabulary.get("<unk>"), *unused, bos]
    return next((i for i in candidates if i is not None and i != eos), 0 if eos else 1)


def _find(
    settings: dict[str, Any], name: str, vocabulary: dict[str, int], usual: tuple[str, ...]
) -> int | None:
    """Return the id of a named special token, else of the first usual one that exists."""
    candidates = [_name(settings[name])] if name in settings else list(usual)
    return next((vocabulary[text] for text in candidates if text in vocabulary), None)


def _name(value: Any) -> str | None:  # noqa: ANN401 - text, or {"content": text}
    return value.get("content") if isinstance(value, dict) else value
