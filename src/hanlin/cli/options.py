"""Options that several commands share, and configs given as `--any.config.key VALUE`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hanlin.core.errors import ConfigError

C = TypeVar("C")
F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class Finite(click.FloatRange):
    """A number in a range; neither `inf` nor `nan`, which click lets through."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number that can be used.", param, ctx)
        return number


seed_option = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Root of random numbers."
)
max_shard_option = click.option(
    "--max-shard-gb", type=Finite(0, min_open=True), default=5.0, show_default=True,
    help="Size of a file of weights (safetensors).",
)  # fmt: skip
max_bad_rows_option = click.option(
    "--max-bad-rows", type=Finite(0, 1), default=0.01, show_default=True,
    help="Share of bad rows in a file above which it is refused.",
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Replace a result that is there already.")


def out_option(default: str | None = None) -> Callable[[F], F]:
    """Return the `--out` option: where the result goes."""
    return click.option(
        "--out", type=click.Path(path_type=Path), default=default, required=default is None,
        show_default=default is not None, help="Where the result goes.",
    )  # fmt: skip


def read_config(model: type[C], file: Path | None, extra: tuple[str, ...]) -> C:
    """Build a stage's config from `--config FILE` and `--any.config.key VALUE` pairs.

    Raises:
        ConfigError: an unknown key, a bad value, or a key without a value.
    """
    from hanlin.core.config import ConfigSource, load_yaml, parse_value, set_value, validate

    values: dict[str, Any] = {}
    source = ConfigSource("the command line", Path.cwd())
    if file is not None:
        values, source = load_yaml(file)
    for key, text in _pairs(extra):
        set_value(values, key, parse_value(text), source)
    return validate(model, values, source=source)  # type: ignore[type-var]


def _pairs(extra: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs, words = [], list(extra)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ConfigError(f"unexpected argument {word!r}", fix="write --key VALUE")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not words:
                raise ConfigError(f"--{key} has no value", fix=f"write --{key} VALUE")
            text = words.pop(0)
        pairs.append((key.replace("-", "_"), text))
    return pairs


class ManyFiles(click.Command):
    """A command whose repeatable options take several words: `--text a.txt b.txt`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write `--text a b` as `--text a --text b`, which click understands."""
        many = {
            name
            for option in self.params
            if isinstance(option, click.Option) and option.multiple
            for name in option.opts
        }
        current, words = "", list[str]()
        for word in args:
            if word.startswith("-"):
                current = word if word in many else ""
                words.append(word)
            elif current and words[-1] != current:
                words += [current, word]
            else:
                words.append(word)
        return super().parse_args(ctx, words)
