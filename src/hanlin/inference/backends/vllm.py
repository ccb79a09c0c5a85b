"""How is a model served by vLLM, started and watched as a process of its own?

    HANLIN_VLLM="vllm" hanlin chat MODEL --backend vllm

The process speaks OpenAI's protocol on a free port of 127.0.0.1; the rest is the backend `openai`.
A LoRA adapter is served with its base model, unless it holds rows of a grown vocabulary, which vLLM
does not take: such an adapter is merged first.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hanlin.core.config import looks_like_hub_id
from hanlin.core.errors import ConfigError, HanlinError, InputError
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


class VllmEngine(OpenAIEngine):
    """A model in a vLLM of our own.

    Args:
        path: a model folder, an adapter folder, or a hub id.
        dtype: type of the weights; None: as stored.
        tensor_parallel: GPUs that share each layer; None: all that there are.

    Raises:
        MissingExtraError: vLLM is not installed.
        ConfigError: the adapter must be merged first.
        ResourceError: vLLM ended before it was ready; the message has its last lines.
    """

    def __init__(
        self, path: str, *, dtype: str | None = None, tensor_parallel: int | None = None
    ) -> None:
        port = free_port()
        command = vllm_command(
            path, port=port, dtype=dtype, tensor_parallel=tensor_parallel or _count_gpus()
        )
        address = f"http://127.0.0.1:{port}"
        self._process = ServerProcess(command, ready=f"{address}/health")
        log.info("started: %s (log: %s)", self._process.command_line, self._process.log)
        try:
            self._process.wait_ready(timeout_s=READY_S)
            super().__init__(
                f"{address}/v1", tokenizer=_tokenizer_place(path), served=_served_name(path)
            )
        except BaseException:
            self._process.close()
            raise
        self._manifest = read_manifest(path)

    @property
    def pid(self) -> int:
        """Return the process of vLLM."""
        return self._process.pid

    @property
    def command_line(self) -> str:
        """Return how vLLM was started."""
        return self._process.command_line

    def close(self) -> None:
        """Stop vLLM."""
        self._process.close()

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
        ConfigError: the adapter must be merged first.
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
        _refuse_rows(path, settings, model)
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


def _refuse_rows(path: str, settings: Mapping[str, Any], model: str) -> None:
    """Refuse an adapter with rows of its own for embeddings or output."""
    whole = settings.get("modules_to_save") or []
    rows = settings.get("trainable_token_indices")
    if rows or any(name in ROWS for name in whole):
        raise ConfigError(
            f"vLLM cannot serve the adapter {path} beside its base model",
            why="it holds rows of the embeddings or of lm_head, and vLLM takes low-rank weights "
            "only",
            fix=f"hanlin weights merge {model} {path} OUT, then serve OUT",
        )
    if not Path(model).exists() and not looks_like_hub_id(model):
        raise InputError(
            f"the base model {model} of the adapter {path} is not there",
            why="adapter_config.json names it",
            fix="bring it to that place, or merge the two: hanlin weights merge BASE ADAPTER OUT",
        )


def _count_gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())
