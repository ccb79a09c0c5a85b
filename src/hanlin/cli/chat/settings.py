"""Which options say how an answer is chosen, and what do they make?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hanlin.cli import console
from hanlin.core.errors import ConfigError
from hanlin.core.registry import did_you_mean

if TYPE_CHECKING:
    from hanlin.inference.conversation import Talk
    from hanlin.inference.engine import Engine, Sampling

F = TypeVar("F", bound=Callable[..., Any])
NOT_TYPED = ("stop_ids", "grammar", "top_logprobs", "adapter")  # what no person sets in a chat

DECODING = (
    click.option("--max-new-tokens", default=256, show_default=True, help="Longest answer."),
    click.option(
        "--temperature", default=0.0, show_default=True, help="0: always the likeliest token."
    ),
    click.option("--top-k", default=0, show_default=True, help="Draw from the k best; 0: all."),
    click.option(
        "--top-p", default=1.0, show_default=True, help="Share of likely tokens to draw from."
    ),
    click.option(
        "--min-p", default=0.0, show_default=True,
        help="Draw from tokens with this share of the likeliest one's probability.",
    ),
    click.option(
        "--repetition-penalty", default=1.0, show_default=True,
        help="Divides the logits of what was said before.",
    ),
    click.option(
        "--presence-penalty", default=0.0, show_default=True,
        help="Taken from the logits of what the answer has said.",
    ),
    click.option(
        "--frequency-penalty", default=0.0, show_default=True,
        help="The same, for each time that it was said.",
    ),
    click.option("--num-beams", default=1, show_default=True, help="Above 1: beam search."),
    click.option("--length-penalty", default=1.0, show_default=True, help="Of beams."),
    click.option("--seed", default=0, show_default=True, help="Of the random numbers."),
    click.option("--stop", multiple=True, metavar="TEXT", help="Ends an answer; may be repeated."),
)  # fmt: skip
ENGINE = (
    click.option("--backend", help="transformers, llamacpp, openai or vllm; default: by MODEL."),
    click.option("--dtype", help="Type of the weights: float32, bfloat16, int8, ..."),
    click.option("--tokenizer", help="Folder or hub id of a server's tokenizer."),
)


def decoding_options(command: F) -> F:
    """Add an option for each field of `Sampling` that people set."""
    for option in reversed(DECODING):
        command = option(command)
    return command


def engine_options(command: F) -> F:
    """Add the options that say how a model is loaded."""
    for option in reversed(ENGINE):
        command = option(command)
    return command


def take_sampling(options: dict[str, Any]) -> Sampling:
    """Take the values of `decoding_options` out of a command's options.

    Raises:
        ConfigError: a value is out of its range.
    """
    from hanlin.inference.engine import Sampling

    names = [field.name for field in fields(Sampling) if field.name not in NOT_TYPED]
    return Sampling(**{name: options.pop(name) for name in names})


def take_engine(model: str, options: dict[str, Any]) -> Engine:
    """Open a model with the values of `engine_options`, which are taken out."""
    from hanlin.inference.engine import open_engine

    names = ("backend", "dtype", "tokenizer")
    engine = open_engine(model, **{name: options.pop(name) for name in names})
    if started := getattr(engine, "command_line", None):
        console.note(f"Started: {started}")
    return engine


def parameters(talk: Talk) -> dict[str, Any]:
    """Return what `/params` shows."""
    shown = {
        field.name: getattr(talk.sampling, field.name)
        for field in fields(talk.sampling)
        if field.name not in NOT_TYPED
    }
    return {**shown, "stop": list(talk.sampling.stop), "memory_turns": talk.memory_turns}


def set_parameter(talk: Talk, name: str, text: str) -> None:
    """Set a parameter of a conversation, as YAML writes its value.

    Raises:
        ConfigError: there is none of that name, or it cannot have the value.
    """
    from hanlin.core.config import parse_value

    name = name.replace("-", "_")
    now = parameters(talk)
    if name not in now:
        raise ConfigError(
            f"there is no parameter {name!r}",
            why=f"known: {', '.join(now)}",
            fix=did_you_mean(name, now) or "/params lists them",
        )
    value = parse_value(text)
    if name == "memory_turns":
        talk.memory_turns = _memory(value)
    elif name == "stop":
        words = value if isinstance(value, list) else [] if value is None else [value]
        talk.sampling = replace(talk.sampling, stop=tuple(map(str, words)))
    else:
        talk.sampling = replace(talk.sampling, **{name: _number(name, value, type(now[name]))})


def _memory(value: object) -> int | None:
    if value is None or (type(value) is int and value >= 0):
        return value
    raise ConfigError(f"memory_turns is {value!r}", why="it must be 0 or more, or null for all")


def _number(name: str, value: object, kind: type) -> Any:  # noqa: ANN401 - int or float
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    wanted = "a whole number" if kind is int else "a number"
    raise ConfigError(f"{name} is {value!r}", why=f"it must be {wanted}")
