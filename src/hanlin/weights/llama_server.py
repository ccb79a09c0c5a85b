"""How is a GGUF file asked questions through llama.cpp, quietly and exactly?

xllamacpp starts llama.cpp's own server inside this process, on a free port of 127.0.0.1. Token ids
of an answer come whole over that port only; its in-process functions merge tokens that split a
character.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.environment import usable_cpus
from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import size_bytes

SILENT = -1
# llama.cpp's threads wait for each other by spinning: the checks of a 100 kB model took 0.3 s with
# one thread, and 90 s with two on two cores that other programs used as well.
ONE_THREAD_BYTES = 100_000_000
FORCE = 1000.0  # a bias that no logit outweighs


@dataclass(frozen=True)
class LlamaServer:
    """An open GGUF file, at "127.0.0.1:PORT"; made by `open_server`."""

    address: str

    def tokenize(self, text: str, *, with_special: bool = False) -> list[int]:
        """Return llama.cpp's ids of a text.

        Args:
            text: any text.
            with_special: add the begin token, and read special tokens out of the text.
        """
        body = {"content": text, "add_special": with_special, "parse_special": with_special}
        ids: list[int] = self._post("/tokenize", body)["tokens"]
        return ids

    def greedy(self, prompt: Sequence[int], *, max_new_tokens: int) -> list[int]:
        """Return the most probable continuation, as ids; it may end with the end token."""
        body = {
            "prompt": list(prompt), "n_predict": max_new_tokens, "temperature": 0,
            "cache_prompt": False, "return_tokens": True,
        }  # fmt: skip
        ids: list[int] = self._post("/completion", body)["tokens"]
        return ids

    def next_log_probs(
        self, prompt: Sequence[int], *, vocab_size: int, whole_character: int
    ) -> dict[int, float]:
        """Return id -> log-probability (nats) of every possible next token.

        Args:
            prompt: token ids.
            vocab_size: entries of the vocabulary.
            whole_character: id of any token that is a whole character. It is forced to be the
                answer, since an answer of half a character is not reported; log-probabilities are
                of the raw logits and do not change by it.
        """
        body = {
            "prompt": list(prompt), "n_predict": 1, "temperature": 0, "n_probs": vocab_size,
            "cache_prompt": False, "logit_bias": [[whole_character, FORCE]],
        }  # fmt: skip
        found = self._post("/completion", body)["completion_probabilities"][0]["top_logprobs"]
        return {entry["id"]: entry["logprob"] for entry in found}

    def chat_prompt(self, messages: Sequence[dict[str, str]]) -> str:
        """Return the text that the file's chat template makes of a conversation."""
        text: str = self._post("/apply-template", {"messages": list(messages)})["prompt"]
        return text

    def _post(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
        connection = http.client.HTTPConnection(self.address)  # straight to it, past any proxy
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            error = answer.get("error", {})
            raise InputError(
                f"llama.cpp refused a request to {path}",
                why=str(error.get("message", response.status)),
                fix="check that the file belongs to this model",
            )
        return answer


@contextmanager
def open_server(path: Path, *, context_length: int) -> Iterator[LlamaServer]:
    """Load a GGUF file on the CPU, with a float32 cache, which agrees with transformers to 1e-5.

    Raises:
        MissingExtraError: xllamacpp is missing.
        InputError: llama.cpp cannot load the file.
    """
    xllamacpp = require("xllamacpp", extra="cpu", purpose="running GGUF files")
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.verbosity = SILENT
    settings.n_ctx = context_length
    settings.n_gpu_layers = 0
    settings.warmup = settings.ui = settings.fit_params = False
    settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    threads = usable_cpus() if path.is_file() and size_bytes(path) > ONE_THREAD_BYTES else 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    try:
        server = xllamacpp.Server(settings)
    except RuntimeError as error:
        raise InputError(
            f"llama.cpp cannot load {path}",
            why=str(error),
            fix="export it again: hanlin weights gguf MODEL OUT.gguf --type f16 --force",
        ) from error
    try:
        yield LlamaServer(server.listening_address.partition("//")[2])
    finally:
        del server  # stops its threads
