"""What does a GGUF file say about itself: its context, its tokenizer, its manifest?"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import write_atomic, write_json
from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.load import load as load_tokenizer

MANIFEST_KEY = "hanlin.manifest"
TOKENIZER_KEY = "tokenizer.huggingface.json"


class GgufMetadata:
    """What a GGUF file says about itself.

    Args:
        path: the file.

    Raises:
        MissingExtraError: gguf is not installed.
        InputError: it is no GGUF file.
    """

    def __init__(self, path: Path) -> None:
        gguf = require("gguf", extra="cpu", purpose="reading GGUF files")
        self.path = path
        try:
            self._reader = gguf.GGUFReader(str(path))
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise InputError(
                f"{path} is no readable GGUF file",
                why=str(error),
                fix="export or download it again",
            ) from error

    def context_length(self) -> int:
        """Return how many positions the model has."""
        return int(self._value(f"{self._value('general.architecture')}.context_length") or 2048)

    def cache_bytes(self, length: int) -> int:
        """Return how large the keys and values of so many tokens are, at two bytes a number."""
        kind = self._value("general.architecture")
        heads = int(self._value(f"{kind}.attention.head_count") or 1)
        width = int(self._value(f"{kind}.embedding_length") or 0) // heads
        kv_heads = self._value(f"{kind}.attention.head_count_kv") or heads
        kv_heads = max(kv_heads) if isinstance(kv_heads, list) else int(kv_heads)
        return 4 * length * int(self._value(f"{kind}.block_count") or 0) * kv_heads * width

    def manifest(self) -> dict[str, Any]:
        """Return the manifest that `weights.gguf` wrote."""
        text = self._value(MANIFEST_KEY)
        return dict(json.loads(text)) if text else {}

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer whose tokenizer.json is in the file, or lies beside it."""
        text = self._value(TOKENIZER_KEY)
        if text:
            with tempfile.TemporaryDirectory() as folder:
                write_atomic(Path(folder) / "tokenizer.json", text.encode())
                write_json(Path(folder) / "tokenizer_config.json", self._special_tokens())
                tokenizer = replace(load_tokenizer(folder), path=self.path)
        elif (self.path.parent / "tokenizer.json").is_file():
            tokenizer = load_tokenizer(self.path.parent)
        else:
            raise InputError(
                f"{self.path} has no tokenizer.json in it",
                why="another program wrote it; prompts are made of exact token ids here",
                fix="put the model's tokenizer.json and tokenizer_config.json beside the file",
            )
        count = len(self._value("tokenizer.ggml.tokens") or ())
        if tokenizer.vocab_size != count:
            raise InputError(
                f"{self.path} has {count} tokens but its tokenizer has {tokenizer.vocab_size}",
                why="the two belong to different models",
                fix="export the model again, or put the right tokenizer.json beside the file",
            )
        return tokenizer

    def _special_tokens(self) -> dict[str, str]:
        tokens = self._value("tokenizer.ggml.tokens")
        keys = {
            "bos_token": "bos",
            "eos_token": "eos",
            "unk_token": "unknown",
            "pad_token": "padding",
        }
        ids = {name: self._value(f"tokenizer.ggml.{key}_token_id") for name, key in keys.items()}
        return {name: tokens[index] for name, index in ids.items() if index is not None}

    def _value(self, key: str) -> Any:  # noqa: ANN401 - text, number or list
        field = self._reader.get_field(key)
        return None if field is None else field.contents()
