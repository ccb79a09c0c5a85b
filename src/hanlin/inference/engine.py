"""What can a model do for its callers? Generate, stream and score token ids.

    engine = open_engine("runs/quickstart")
    for text in engine.stream(prompt_ids, Sampling(max_new_tokens=100)):
        ...

Prompts are token ids, made by `hanlin.prompts.encode`: no backend puts text together by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hanlin.core.config import looks_like_hub_id
from hanlin.core.errors import ConfigError, InputError
from hanlin.inference.backends import BACKENDS
from hanlin.models.runs import models_of_run

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

StoppedBy = Literal["eos", "stop", "length"]
ScoreRequest = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Sampling:
    """How an answer is chosen.

    Attributes:
        max_new_tokens: an answer is cut after this many tokens, or where the context ends.
        temperature: 0 takes the most likely token each time; 1 samples from the model as it is.
        top_k: sample from the k most likely tokens only; 0 for all.
        top_p: sample from the fewest tokens that together have this probability.
        seed: of the random numbers; each prompt of a batch has a stream of its own.
        stop: strings that end the answer and are no part of it.
        stop_ids: tokens that end it as the model's own end token does: the end marker of a prompt
            format (`prompts.encode.stop_ids`).

    Raises:
        ConfigError: a value is out of its range.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        checks = {
            "max_new_tokens": (self.max_new_tokens >= 1, "1 or more"),
            "temperature": (0 <= self.temperature < float("inf"), "0 or more"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
        }
        for name, (is_right, rule) in checks.items():
            if not is_right:
                raise ConfigError(f"{name} is {getattr(self, name)}", why=f"it must be {rule}")


@dataclass(frozen=True)
class Generation:
    """A generated answer.

    Attributes:
        text: whole characters only; without the end token and without the stop string.
        ids: the tokens that were generated, without the end token.
        stopped_by: the end token, a stop string, or the limit.
    """

    text: str
    ids: tuple[int, ...]
    stopped_by: StoppedBy


class Engine(Protocol):
    """A loaded model. Raises InputError for a prompt that the model's context cannot hold."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer whose ids it takes and gives."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Return the model's hanlin.json; empty where there is none."""

    @property
    def max_length(self) -> int:
        """Return how many tokens fit, prompt and answer together."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt."""

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[str]:
        """Yield the text of `generate([prompt])[0]` as it comes, in whole characters."""

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats."""


def open_engine(
    model: str,
    *,
    backend: str | None = None,
    dtype: str | None = None,
    tokenizer: str | None = None,
) -> Engine:
    """Load a model from a folder, a `.gguf` file, a run directory or the hub, or ask a server.

    Args:
        model: a Hugging Face folder, a `.gguf` file, a run directory (its last model is taken),
            a hub id, or the address of an OpenAI-compatible server.
        backend: a name in `BACKENDS`; None chooses by the kind of file.
        dtype: type of the weights, "int8" to quantize them; for Hugging Face models.
        tokenizer: folder or hub id of the tokenizer of a server's model.

    Raises:
        InputError: there is no model.
        ConfigError: no backend has that name, or it has no such setting.
    """
    is_served = is_address(model)
    is_found = is_served or looks_like_hub_id(model)
    found = model if is_found else str(find_model(Path(model).expanduser()))
    by_kind = "llamacpp" if found.endswith(".gguf") else "transformers"
    name = backend or ("openai" if is_served else by_kind)
    wanted = {"dtype": (dtype, "transformers"), "tokenizer": (tokenizer, "openai")}
    options = {key: value for key, (value, _) in wanted.items() if value is not None}
    for key in options:
        if wanted[key][1] != name:
            raise ConfigError(
                f"{key} cannot be chosen for {model}",
                why=f"the backend {name} takes it from the model",
                fix=f"leave {key} out",
            )
    engine: Engine = BACKENDS.get(name)(found, **options)
    return engine


def is_address(model: str) -> bool:
    """Tell whether a model is the address of a server."""
    return model.startswith(("http://", "https://"))


def find_model(path: Path) -> Path:
    """Return the model file or folder that a path means.

    Raises:
        InputError: nothing is there, or it holds no model.
    """
    if not path.exists():
        raise InputError(
            f"{path} does not exist",
            why="a model is a folder, a .gguf file, a run directory or a hub id (owner/name)",
            fix="check the path",
        )
    if path.suffix == ".gguf" or (path / "config.json").is_file():
        return path
    if (path / "adapter_config.json").is_file():
        raise InputError(
            f"{path} is an adapter, not a model",
            why="it holds only what finetuning added to a base model",
            fix=f"hanlin weights merge BASE {path} OUT, then give OUT",
        )
    models = models_of_run(path) if path.is_dir() else []
    if not models:
        raise InputError(
            f"{path} holds no model",
            why="it has no config.json, is no .gguf file, and no finished stage in it left a model",
            fix="give a model folder, or finish the run first: hanlin run RECIPE",
        )
    return models[-1]
