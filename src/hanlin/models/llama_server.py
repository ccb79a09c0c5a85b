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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.environment import usable_cpus
from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import size_bytes

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

SILENT = -1
# llama.cpp's threads wait for each other by spinning: the checks of a 100 kB model took 0.3 s with
# one thread, and 90 s with two on two cores that other programs used as well. So small a file may
# also have a float32 cache, with which log-probabilities agree with transformers to 1e-5.
SMALL_BYTES = 100_000_000
FORCE = 1000.0  # a bias that no logit outweighs
FEW = 64  # most probable tokens that are asked for first: a report of 32,000 takes 0.1 s


class LlamaServer:
    """An open GGUF file on the CPU.

    Args:
        path: the file.
        context_length: most tokens of prompt and answer together.
        exact: keep the cache in float32 whatever the file's size.

    Raises:
        MissingExtraError: xllamacpp is missing.
        InputError: llama.cpp cannot load the file.
    """

    def __init__(self, path: Path, *, context_length: int, exact: bool = False) -> None:
        self._server = _start(path, context_length=context_length, exact=exact)
        # Straight to it, past any proxy.
        self._connection = http.client.HTTPConnection(
            self._server.listening_address.partition("//")[2]
        )

    def close(self) -> None:
        """Stop the server's threads and free the model."""
        self._connection.close()
        self._server = None

    def tokenize(self, text: str, *, with_special: bool = False) -> list[int]:
        """Return llama.cpp's ids of a text.

        Args:
            text: any text.
            with_special: add the begin token, and read special tokens out of the text.
        """
        body = {"content": text, "add_special": with_special, "parse_special": with_special}
        ids: list[int] = self.post("/tokenize", body)["tokens"]
        return ids

    def greedy(self, prompt: Sequence[int], *, max_new_tokens: int) -> list[int]:
        """Return the most probable continuation, as ids; it may end with the end token."""
        body = {
            "prompt": list(prompt), "n_predict": max_new_tokens, "temperature": 0,
            "cache_prompt": False, "return_tokens": True,
        }  # fmt: skip
        ids: list[int] = self.post("/completion", body)["tokens"]
        return ids

    def next_log_probs(
        self,
        prompt: Sequence[int],
        *,
        tokenizer: Tokenizer,
        top: int | None = None,
        reuse: bool = False,
    ) -> dict[int, float]:
        """Return id -> log-probability (nats) of possible next tokens.

        Some whole character is forced to be the answer, since one of half a character is not
        reported; log-probabilities are of the raw logits and do not change by it.

        Args:
            prompt: token ids.
            tokenizer: the one in the file.
            top: so many of the most probable ones; None: all.
            reuse: go on from what the request before computed for the same first tokens.
        """
        size = tokenizer.vocab_size
        letter = next(i for i in range(size) if _is_whole(tokenizer.bytes_of(i)))
        found = self._forced(prompt, letter, n_probs=top or size, reuse=reuse)["top_logprobs"]
        return {entry["id"]: entry["logprob"] for entry in found}

    def log_probability(self, prompt: Sequence[int], token: int, *, tokenizer: Tokenizer) -> float:
        """Return the log-probability (nats) of one token after others.

        Prompts that grow by a token are cheap: what was computed is kept.
        """
        if _is_whole(tokenizer.bytes_of(token)):
            return float(self._forced(prompt, token, n_probs=1, reuse=True)["logprob"])
        found = self.next_log_probs(prompt, tokenizer=tokenizer, top=FEW, reuse=True)
        if token not in found:
            found = self.next_log_probs(prompt, tokenizer=tokenizer, reuse=True)
        return found[token]

    def _forced(
        self, prompt: Sequence[int], token: int, *, n_probs: int, reuse: bool
    ) -> dict[str, Any]:
        """Return what is reported of an answer that is one given token."""
        body = {
            "prompt": [int(i) for i in prompt], "n_predict": 1, "temperature": 0,
            "n_probs": n_probs, "cache_prompt": reuse, "logit_bias": [[token, FORCE]],
        }  # fmt: skip
        report: dict[str, Any] = self.post("/completion", body)["completion_probabilities"][0]
        return report

    def chat_prompt(self, messages: Sequence[dict[str, str]]) -> str:
        """Return the text that the file's chat template makes of a conversation."""
        text: str = self.post("/apply-template", {"messages": list(messages)})["prompt"]
        return text

    def post(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
        """Return the server's answer to one request.

        Raises:
            InputError: it refuses the request.
        """
        try:
            headers = {"Content-Type": "application/json"}
            self._connection.request("POST", path, json.dumps(body), headers)
            response = self._connection.getresponse()
            answer = json.loads(response.read())
        except BaseException:
            self._connection.close()  # half an answer may be left in it, for example after Ctrl-C
            raise
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
    """Open a GGUF file with a float32 cache, and close it behind the block."""
    server = LlamaServer(path, context_length=context_length, exact=True)
    try:
        yield server
    finally:
        server.close()


def _is_whole(data: bytes) -> bool:
    """Tell whether bytes are whole visible characters, which llama.cpp reports at once."""
    try:
        return data.decode().isprintable() and data != b""
    except UnicodeDecodeError:
        return False


def _start(path: Path, *, context_length: int, exact: bool) -> Any:  # noqa: ANN401 - xllamacpp.Server
    xllamacpp = require("xllamacpp", extra="cpu", purpose="running GGUF files")
    is_small = not path.is_file() or size_bytes(path) <= SMALL_BYTES
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.verbosity = SILENT
    settings.n_ctx = context_length
    settings.n_gpu_layers = settings.cache_ram_mib = 0
    settings.warmup = settings.ui = settings.fit_params = False
    if exact or is_small:
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    threads = 1 if is_small else usable_cpus()
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    try:
        return xllamacpp.Server(settings)
    except RuntimeError as error:
        raise InputError(
            f"llama.cpp cannot load {path}",
            why=str(error),
            fix="export it again: hanlin weights gguf MODEL OUT.gguf --type f16 --force",
        ) from error
