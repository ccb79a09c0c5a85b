"""How is a model served by vLLM, started and watched as a process of its own?

    HANLIN_VLLM="vllm" hanlin chat MODEL --backend vllm

The process speaks OpenAI's protocol on a free port of 127.0.0.1; the rest is the backend `openai`.
A LoRA adapter is served with its base model, unless it holds rows of a grown vocabulary, which vLLM
does not take: such an adapter is merged into a temporary model first (`hanlin weights merge`, as a
process of its own).
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from hanlin.core.config import looks_like_hub_id
from hanlin.core.errors import HanlinError, InputError, ResourceError
from hanlin.core.files import read_json
from hanlin.inference.backends.openai import OpenAIEngine
from hanlin.inference.http_json import ServerError
from hanlin.inference.server_process import ServerProcess, free_port
from hanlin.models.manifest import read_manifest

log = logging.getLogger(__name__)

PROGRAM = "HANLIN_VLLM"  # environment: how vLLM is called, with arguments of its own
READY_S = 1800.0  # a large model from a slow disk
DEATH_S = 1.0  # a broken connection is told apart from a dead server
MAX_LOGPROBS = 100  # as many as a request may ask for
ADAPTER, CONFIG = "adapter", "adapter_config.json"
ROWS = ("embed_tokens", "lm_head")
LAST_LINES = 4  # of a command that failed


class VllmEngine(OpenAIEngine):
    """A model in a vLLM of our own.

    Args:
        path: a model folder, an adapter folder, or a hub id.
        dtype: type of the weights; None: as stored.
        tensor_parallel: GPUs that share each layer; None: all that there are.

    Raises:
        MissingExtraError: vLLM is not installed.
        InputError: the adapter's base model is not there.
        ResourceError: vLLM ended before it was ready, or the adapter could not be merged; the
            message has the last lines.
    """

    def __init__(
        self, path: str, *, dtype: str | None = None, tensor_parallel: int | None = None
    ) -> None:
        with ExitStack() as stack:
            if _is_adapter(path) and _has_rows(path):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hanlin-merged-"))
                path = merged(path, Path(folder) / Path(path).name)
            port = free_port()
            command = vllm_command(
                path, port=port, dtype=dtype, tensor_parallel=tensor_parallel or _count_gpus()
            )
            address = f"http://127.0.0.1:{port}"
            self._process = ServerProcess(command, ready=f"{address}/health")
            stack.callback(self._process.close)
            log.info("started: %s (log: %s)", self._process.command_line, self._process.log)
            self._process.wait_ready(timeout_s=READY_S)
            super().__init__(
                f"{address}/v1", tokenizer=_tokenizer_place(path), served=_served_name(path)
            )
            self._manifest = read_manifest(path)
            self._held = stack.pop_all()

    @property
    def pid(self) -> int:
        """Return the process of vLLM."""
        return self._process.pid

    @property
    def command_line(self) -> str:
        """Return how vLLM was started."""
        return self._process.command_line

    def close(self) -> None:
        """Stop vLLM, and remove a model that was merged for it."""
        self._held.close()

    def _failure(self, error: ServerError) -> HanlinError:
        has_died = self._process.has_died(within_s=DEATH_S)
        return self._process.why_dead() if has_died else super()._failure(error)


def vllm_command(path: str, *, port: int, dtype: str | None, tensor_parallel: int) -> list[str]:
    """Return the command line that serves a model.

    Args:
        path: a model folder, an adapter folder, or a hub id.
        port: of 127.0.0.1.
        dtype: type of the weights; None: as stored.
        tensor_parallel: GPUs that share each layer.

    Raises:
        InputError: the base model of the adapter is not there.
    """
    is_adapter = _is_adapter(path)
    settings = read_json(Path(path) / CONFIG) if is_adapter else {}
    model = str(settings["base_model_name_or_path"]) if is_adapter else path
    options: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "served-model-name": _served_name(path) if not is_adapter else "base",
        "dtype": dtype or "auto",
        "tensor-parallel-size": tensor_parallel,
        "generation-config": "vllm",  # parameters come from the request alone
        "max-logprobs": MAX_LOGPROBS,
    }
    command = [*shlex.split(os.environ.get(PROGRAM, "vllm")), "serve", model]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    if is_adapter:
        _find_base(path)
        command += ["--enable-lora", "--max-lora-rank", str(settings.get("r", 16))]
        command += ["--lora-modules", f"{ADAPTER}={path}"]
    return command


def _served_name(path: str) -> str:
    return ADAPTER if _is_adapter(path) else path


def _tokenizer_place(path: str) -> str:
    """Return where the tokenizer is: beside the adapter, or beside its base model."""
    if not _is_adapter(path) or (Path(path) / "tokenizer.json").is_file():
        return path
    return str(read_json(Path(path) / CONFIG)["base_model_name_or_path"])


def _is_adapter(path: str) -> bool:
    return (Path(path) / CONFIG).is_file()


def _has_rows(path: str) -> bool:
    """Tell whether an adapter has rows of its own for embeddings or output."""
    settings = read_json(Path(path) / CONFIG)
    whole = settings.get("modules_to_save") or []
    return bool(settings.get("trainable_token_indices")) or any(name in ROWS for name in whole)


def merged(path: str, out: Path) -> str:
    """Merge an adapter with its base model; return the merged model's folder.

    Raises:
        InputError: the base model is not there.
        ResourceError: it cannot be merged; the message has the last lines of the command.
    """
    command = [sys.executable, "-m", "hanlin", "weights", "merge", _find_base(path), path, str(out)]
    log.info("vLLM takes no rows of an adapter; merging: %s", shlex.join(command[2:]))
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - this Python
    if done.returncode:
        raise ResourceError(
            f"the adapter {path} could not be merged for vLLM",
            why="\n".join(done.stderr.strip().splitlines()[-LAST_LINES:]),
            fix="merge it where there is room, then serve the result: hanlin weights merge BASE "
            f"{path} OUT",
        )
    return str(out)


def _find_base(path: str) -> str:
    """Return the base model of an adapter: a folder or a hub id."""
    model = str(read_json(Path(path) / CONFIG)["base_model_name_or_path"])
    if not Path(model).exists() and not looks_like_hub_id(model):
        raise InputError(
            f"the base model {model} of the adapter {path} is not there",
            why="adapter_config.json names it",
            fix="bring it to that place, or merge the two: hanlin weights merge BASE ADAPTER OUT",
        )
    return model


def _count_gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())
