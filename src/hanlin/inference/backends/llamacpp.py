"""How does a GGUF file generate and score? Through llama.cpp on the CPU, token by token.

llama.cpp's server runs inside this process, on a free port of 127.0.0.1. It is asked for one token
at a time and keeps the computed prefix: ids are exact, and where an answer ends is found by the
code that all backends share. (An answer that llama.cpp streams is text, in which bytes of a
character that is split over tokens may be lost.) Asking takes about a millisecond for each token.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import write_atomic, write_json
from hanlin.core.stage import derive_seed
from hanlin.inference.answer import Answer, answer_limit
from hanlin.inference.engine import Generation, Sampling, ScoreRequest
from hanlin.models.llama_server import LlamaServer
from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.load import load as load_tokenizer

MANIFEST_KEY = "hanlin.manifest"
TOKENIZER_KEY = "tokenizer.huggingface.json"
MAX_CONTEXT = 8192  # the cache of the whole context is allocated at once


class LlamaCppEngine:
    """A GGUF file; prompts go in as token ids.

    Args:
        path: the file.

    Raises:
        MissingExtraError: xllamacpp or gguf is not installed.
        InputError: llama.cpp cannot load it, or it holds no tokenizer that can be used.
    """

    def __init__(self, path: str) -> None:
        metadata = _Metadata(Path(path))
        self._tokenizer = metadata.tokenizer()
        self._manifest = metadata.manifest()
        self._max_length = min(metadata.context_length(), MAX_CONTEXT)
        self._server = LlamaServer(Path(path), context_length=self._max_length)

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that is in the file."""
        return self._tokenizer

    @property
    def manifest(self) -> dict[str, Any]:
        """Return the hanlin.json that is in the file; empty where there is none."""
        return self._manifest

    @property
    def max_length(self) -> int:
        """Return how many tokens fit, prompt and answer together."""
        return self._max_length

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt."""
        answers = []
        for index, prompt in enumerate(prompts):
            answer = self._open(prompt, sampling)
            for _ in self._run(prompt, answer, sampling=sampling, index=index):
                pass
            answers.append(answer.generation())
        return answers

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[str]:
        """Yield the text of `generate([prompt])[0]` as it comes, in whole characters."""
        answer = self._open(prompt, sampling)
        for _ in self._run(prompt, answer, sampling=sampling, index=0):
            if text := answer.take():
                yield text

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats."""
        known: dict[tuple[int, ...], float] = {}  # ids -> log-probability of the last one
        scores = [0.0] * len(requests)
        for index in sorted(range(len(requests)), key=lambda i: list(map(list, requests[i]))):
            prefix, continuation = requests[index]
            assert len(prefix), "a prefix has at least one token, for example bos"
            ids = (*prefix, *continuation)
            for end in range(len(prefix) + 1, len(ids) + 1):
                if ids[:end] not in known:
                    known[ids[:end]] = self._server.log_probability(
                        ids[: end - 1], ids[end - 1], tokenizer=self._tokenizer
                    )
                scores[index] += known[ids[:end]]
        return scores

    def _open(self, prompt: Sequence[int], sampling: Sampling) -> Answer:
        limit = answer_limit(prompt, sampling, max_length=self.max_length)
        eos_ids = [self._tokenizer.eos_id, *sampling.stop_ids]
        return Answer(self._tokenizer, stop=sampling.stop, eos_ids=eos_ids, limit=limit)

    def _run(
        self, prompt: Sequence[int], answer: Answer, *, sampling: Sampling, index: int
    ) -> Iterator[None]:
        """Give the answer its next token until it is over; yield after each."""
        settings = {
            "samplers": ["temperature", "top_k", "top_p"],
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
        }
        while answer.stopped_by is None:
            seed = derive_seed(sampling.seed, f"answer/{index}/{len(answer.ids)}")
            reply = self._complete([*prompt, *answer.ids], **settings, seed=seed)
            answer.push(reply["tokens"][0])
            yield

    def _complete(self, ids: Sequence[int], **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return llama.cpp's reply about the one token after some ids."""
        body = {
            "prompt": [int(i) for i in ids], "n_predict": 1, "temperature": 0.0,
            "return_tokens": True, "cache_prompt": True, **settings,
        }  # fmt: skip
        reply: dict[str, Any] = self._server.post("/completion", body)
        return reply


class _Metadata:
    """What a GGUF file says about itself."""

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
