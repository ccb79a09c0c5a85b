"""What can a model do for its callers? Generate, stream and score token ids.

    engine = open_engine("runs/quickstart")
    for text in engine.stream(prompt_ids, Sampling(max_new_tokens=100)):
        ...
    for event in engine.events(prompt_ids, Sampling(num_beams=4, top_logprobs=2)):
        ...

Prompts are token ids, made by `hanlin.prompts.encode`: no backend puts text together by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hanlin.core.config import looks_like_hub_id
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Grammar
from hanlin.inference.backends import BACKENDS
from hanlin.models.runs import models_of_run

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

StoppedBy = Literal["eos", "stop", "length"]
ScoreRequest = tuple[Sequence[int], Sequence[int]]
MAX_BEAMS = 64
MAX_TOP_LOGPROBS = 100


@dataclass(frozen=True)
class Sampling:
    """How an answer is chosen.

    Penalties change the model's logits first; then temperature, top_k, top_p and min_p say what may
    be drawn. Everything has the meaning, and the order, that it has in transformers.

    Attributes:
        max_new_tokens: an answer is cut after this many tokens, or where the context ends.
        temperature: 0 takes the most likely token each time; 1 samples from the model as it is.
        top_k: sample from the k most likely tokens only; 0 for all.
        top_p: sample from the fewest tokens that together have this probability.
        seed: of the random numbers; each prompt of a batch has a stream of its own.
        stop: strings that end the answer and are no part of it.
        stop_ids: tokens that end it as the model's own end token does: the end marker of a prompt
            format (`prompts.encode.stop_ids`).
        min_p: sample from tokens that have this share of the most likely one's probability.
        repetition_penalty: divides the logits of tokens in prompt and answer; 1 for none.
        presence_penalty: taken from the logits of tokens that are in the answer.
        frequency_penalty: taken from them as often as they are in the answer.
        num_beams: answers that are followed at once; above 1 it is beam search, or beam sampling
            where temperature is above 0.
        length_penalty: of beams; a beam's log-likelihood is divided by its length to this power.
        top_logprobs: give the log-probability of each token, and of so many most likely ones;
            None for none. They are the model's own, before penalties and temperature.
        grammar: what the text must look like. It alone says where the text ends: `stop` is not
            looked for.
        adapter: the LoRA adapter that answers, by the name it was opened with; None: the model.

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
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    num_beams: int = 1
    length_penalty: float = 1.0
    top_logprobs: int | None = None
    grammar: Grammar | None = None
    adapter: str | None = None

    def __post_init__(self) -> None:
        infinity = float("inf")
        checks = {
            "max_new_tokens": (self.max_new_tokens >= 1, "1 or more"),
            "temperature": (0 <= self.temperature < infinity, "0 or more"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "min_p": (0 <= self.min_p <= 1, "0 to 1"),
            "repetition_penalty": (0 < self.repetition_penalty < infinity, "above 0"),
            "presence_penalty": (-2 <= self.presence_penalty <= 2, "-2 to 2"),
            "frequency_penalty": (-2 <= self.frequency_penalty <= 2, "-2 to 2"),
            "num_beams": (1 <= self.num_beams <= MAX_BEAMS, f"1 to {MAX_BEAMS}"),
            "length_penalty": (-10 <= self.length_penalty <= 10, "-10 to 10"),
            "top_logprobs": (
                self.top_logprobs is None or 0 <= self.top_logprobs <= MAX_TOP_LOGPROBS,
                f"0 to {MAX_TOP_LOGPROBS}",
            ),
        }
        for name, (is_right, rule) in checks.items():
            if not is_right:
                raise ConfigError(f"{name} is {getattr(self, name)}", why=f"it must be {rule}")


@dataclass(frozen=True)
class TokenLogprob:
    """How likely a token was.

    Attributes:
        id: the token.
        data: its bytes, perhaps a part of a character only.
        logprob: in nats.
        top: (id, bytes, log-probability) of the most likely tokens, best first.
    """

    id: int
    data: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()


@dataclass(frozen=True)
class Generation:
    """A generated answer.

    Attributes:
        text: whole characters only; without the end token and without the stop string.
        ids: the tokens that were generated, without the end token.
        stopped_by: the end token, a stop string, or the limit.
        logprobs: one for each of `ids`, where they were asked for.
        score: of beam search: log-likelihood over length to the power of length_penalty.
    """

    text: str
    ids: tuple[int, ...]
    stopped_by: StoppedBy
    logprobs: tuple[TokenLogprob, ...] = ()
    score: float | None = None


@dataclass(frozen=True)
class Beam:
    """One of the answers that beam search follows.

    Attributes:
        text: what is certain, the same for all beams: every answer still possible begins so.
        tail: what this beam says after it, and may still be given up.
        score: as in `Generation`.
    """

    text: str
    tail: str
    score: float


@dataclass(frozen=True)
class StreamEvent:
    """What one decoding step added; all texts hold whole characters only.

    Attributes:
        text: new text of the answer, which can no longer change.
        beams: of beam search, best first.
        logprobs: new ones, where they were asked for.
        generation: the answer, in the last event; the texts of all events make its text.
    """

    text: str = ""
    beams: tuple[Beam, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    generation: Generation | None = None


class Engine(Protocol):
    """A loaded model.

    Raises InputError for a prompt that the model's context cannot hold, and ConfigError for a
    sampling that the backend does not have (`refuse_settings`). A backend that can answer several
    requests at once has an attribute `num_slots`, how many (`inference.scheduler`).
    """

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

    def events(self, prompt: Sequence[int], sampling: Sampling) -> Generator[StreamEvent]:
        """Yield what `generate([prompt])[0]` is made of as it comes; closing it frees everything.

        The last event, and no other, has the generation.
        """

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[str]:
        """Yield the text of `generate([prompt])[0]` as it comes, in whole characters."""

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has, at the start of a document."""

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats."""


def texts_of(events: Generator[StreamEvent]) -> Generator[str]:
    """Yield the new text of each event that has some; closing it closes the events."""
    with closing(events):
        for event in events:
            if event.text:
                yield event.text


def refuse_settings(sampling: Sampling, names: Collection[str], *, backend: str) -> None:
    """Refuse a sampling that sets what a backend does not have.

    Raises:
        ConfigError: one of the settings is not at its default.
    """
    defaults = {field.name: field.default for field in fields(Sampling)}
    for name in names:
        if getattr(sampling, name) != defaults[name]:
            raise ConfigError(
                f"{name} cannot be set for this model",
                why=f"the backend {backend} does not have it",
                fix=f"leave {name} out, or load the model's Hugging Face folder (transformers)",
            )


def open_engine(
    model: str,
    *,
    backend: str | None = None,
    dtype: str | None = None,
    tokenizer: str | None = None,
    adapters: Mapping[str, str] | None = None,
) -> Engine:
    """Load a model from a folder, a `.gguf` file, a run directory or the hub, or ask a server.

    Args:
        model: a Hugging Face folder, a `.gguf` file, a run directory (its last model is taken),
            a hub id, or the address of an OpenAI-compatible server.
        backend: a name in `BACKENDS`; None chooses by the kind of file.
        dtype: type of the weights, "int8" or "int4" to quantize them; for Hugging Face models.
        tokenizer: folder or hub id of the tokenizer of a server's model.
        adapters: name -> folder of LoRA adapters (`Sampling.adapter`); for Hugging Face models.

    Raises:
        InputError: there is no model.
        ConfigError: no backend has that name, or it has no such setting.
    """
    is_served = is_address(model)
    is_found = is_served or looks_like_hub_id(model)
    is_adapter = (Path(model).expanduser() / "adapter_config.json").is_file()
    is_found = is_found or (is_adapter and backend == "vllm")
    found = model if is_found else str(find_model(Path(model).expanduser()))
    by_kind = "llamacpp" if found.endswith(".gguf") else "transformers"
    name = backend or ("openai" if is_served else by_kind)
    wanted: dict[str, tuple[Any, tuple[str, ...]]] = {
        "dtype": (dtype, ("transformers", "vllm")),
        "adapters": (adapters, ("transformers",)),
        "tokenizer": (tokenizer, ("openai",)),
    }
    options = {key: value for key, (value, _) in wanted.items() if value is not None}
    for key in options:
        if name not in wanted[key][1]:
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
