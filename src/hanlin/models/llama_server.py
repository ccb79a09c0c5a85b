"""How is a GGUF file asked questions through llama.cpp, quietly and exactly?

llama.cpp's own server runs beside this process (`llama_process`), on a free port of 127.0.0.1.
Token ids of an answer come whole over that port only; its in-process functions merge tokens that
split a character.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.environment import usable_cpus
from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import size_bytes
from hanlin.models.llama_process import LlamaProcess

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

# Layers of a small model are computed faster than threads meet behind them: one thread does it. So
# small a file may also have a float32 cache, with which log-probabilities agree with transformers
# to 1e-5.
READ_BYTES = 1 << 16  # of a stream at a time, at the most
SMALL_BYTES = 20_000_000
DYING_S = 0.5  # between the end of a connection and the end of its process
FORCE = 1000.0  # a bias that no logit outweighs
FEW = 64  # most probable tokens that are asked for first: a report of 32,000 takes 0.1 s


class LlamaServer:
    """An open GGUF file on the CPU; several threads may ask it at once.

    A llama.cpp that ended ends the requests it was working on; the next one starts it anew.

    Args:
        path: the file.
        context_length: most tokens of prompt and answer together.
        exact: keep the cache in float32 whatever the file's size.
        num_slots: requests that are worked on at once; each has a cache of its own.

    Raises:
        MissingExtraError: xllamacpp is missing.
        InputError: llama.cpp cannot load the file.
    """

    def __init__(
        self, path: Path, *, context_length: int, exact: bool = False, num_slots: int = 1
    ) -> None:
        require("xllamacpp", extra="cpu", purpose="running GGUF files")
        is_small = not path.is_file() or size_bytes(path) <= SMALL_BYTES
        self._settings = {
            "path": str(path),
            "context_length": context_length,
            "num_slots": num_slots,
            "threads": 1 if is_small else usable_cpus(),
            "is_exact": exact or is_small,
        }
        self._lock = threading.Lock()
        self._local = threading.local()
        self._process = LlamaProcess(self._settings)

    @property
    def pid(self) -> int:
        """Return the process that llama.cpp runs in now."""
        return self._process.pid

    def close(self) -> None:
        """End llama.cpp and free the model."""
        self._process.close()

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
            ResourceError: it ended meanwhile.
        """
        process = self._living()
        if getattr(self._local, "process", None) is not process:  # each thread has a connection
            self._local.process, self._local.connection = process, _connect(process)
        connection: http.client.HTTPConnection = self._local.connection
        try:
            response = _ask(connection, path, body)
            answer = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            _raise_if_dead(process)
            raise
        except BaseException:
            connection.close()  # half an answer may be left in it, for example after Ctrl-C
            raise
        return _checked(response.status, answer, path)

    def stream(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any]]:
        """Yield the parts of an answer as they come; closing it ends the work on the answer.

        Raises:
            InputError: the server refuses the request.
            ResourceError: it ended meanwhile.
        """
        process = self._living()
        connection = _connect(process)
        try:
            response = _ask(connection, path, {**body, "stream": True})
            if response.status != 200:
                _checked(response.status, response.read(), path)
            yield from _parts(response, path)
        except (OSError, http.client.HTTPException):
            _raise_if_dead(process)
            raise
        finally:
            connection.close()  # llama.cpp sees that nobody listens, and stops

    def _living(self) -> LlamaProcess:
        """Return a llama.cpp that runs, a new one where it has ended."""
        with self._lock:
            if not self._process.is_alive:
                self._process.close()
                self._process = LlamaProcess(self._settings)
            return self._process


def _connect(process: LlamaProcess) -> http.client.HTTPConnection:
    """Return a connection straight to it, past any proxy."""
    return http.client.HTTPConnection(process.address)


def _raise_if_dead(process: LlamaProcess) -> None:
    """Say why a connection broke, where llama.cpp has ended.

    Raises:
        ResourceError: it has.
    """
    try:
        process.wait(timeout_s=DYING_S)
    except TimeoutError:
        return
    raise process.why_dead()


def _parts(response: http.client.HTTPResponse, path: str) -> Iterator[dict[str, Any]]:
    """Yield the parts of a stream, the last of which says that it is the last.

    Raises:
        InputError: a part tells of an error.
        IncompleteRead: the last part did not come; http.client takes that for the end.
    """
    for line in _lines(response):
        name, _, data = line.partition(b": ")
        if name in (b"data", b"error"):
            part: dict[str, Any] = json.loads(data)
            if "stop" not in part:
                _checked(500, json.dumps({"error": part.get("error", part)}), path)
            yield part
            if part["stop"]:
                return
    raise http.client.IncompleteRead(b"")


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield whole lines as they come; iterating over the response costs twice the time."""
    rest = b""
    while data := response.read1(READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _ask(
    connection: http.client.HTTPConnection, path: str, body: dict[str, Any]
) -> http.client.HTTPResponse:
    """Send a request; again over a new connection where llama.cpp had closed an idle one."""
    data, headers = json.dumps(body), {"Content-Type": "application/json"}
    if connection.sock is not None:
        try:
            connection.request("POST", path, data, headers)
            return connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            connection.close()
    connection.request("POST", path, data, headers)
    return connection.getresponse()


def _checked(status: int, answer: bytes | str, path: str) -> Any:  # noqa: ANN401 - any JSON
    """Return what an answer holds.

    Raises:
        InputError: it says that the request is refused.
    """
    value = json.loads(answer)
    if status != 200:
        raise InputError(
            f"llama.cpp refused a request to {path}",
            why=str(value.get("error", {}).get("message", status)),
            fix="check that the file belongs to this model",
        )
    return value


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
