"""Which options do several `hanlin eval` commands share, and how do they become a config?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hanlin.evaluation.benchmark import BenchmarkConfig, Subject

F = TypeVar("F", bound=Callable[..., Any])
existing = click.Path(path_type=Path)
PROTOCOLS = ["chat", "plain", "official", "lm-eval", "opencompass", "cutegpt-mrr"]
SCORERS = ["text", "letter", "text-norm", "pmi", "generate", "cot"]
DTYPES = ["float32", "bfloat16", "float16", "int8"]

benchmark_option = click.option(
    "--benchmark", required=True, help="Its name; see hanlin eval list."
)
shots_option = click.option("--shots", type=int, help="Examples before each question.")
limit_option = click.option("--limit", type=int, help="At most so many items, spread evenly.")


def model_options(command: F) -> F:
    """Add what says how the model is loaded."""
    for option in (
        click.option("--prompt", help="Prompt format; default: the one the model was tuned on."),
        click.option("--tokenizer", help="Of the model behind a server, where it names none."),
        click.option("--dtype", type=click.Choice(DTYPES), help="Type of the loaded weights."),
    ):
        command = option(command)
    return command


def refuse_to_overwrite(out: Path, *, force: bool) -> None:
    """Refuse an --out that is there already, before the work begins.

    Raises:
        InputError: it is there, and `force` is not set.
    """
    from hanlin.core.errors import InputError

    if out.is_dir() or (out.exists() and not force):
        raise InputError(
            f"{out} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another --out, or add --force to replace it",
        )


def config_of(benchmark: str, options: dict[str, Any]) -> BenchmarkConfig:
    """Build the benchmark's config from the options that were given."""
    from hanlin.core.config import ConfigSource, validate
    from hanlin.evaluation.benchmark import BenchmarkConfig
    from hanlin.evaluation.benchmarks import BENCHMARKS

    BENCHMARKS.get(benchmark)  # a wrong name is refused before a model is loaded
    given = {key: value for key, value in options.items() if value is not None}
    paths = {key: str(value) for key, value in given.items() if isinstance(value, Path)}
    source = ConfigSource("the command line", Path.cwd())
    values = {"id": benchmark, "benchmark": benchmark, **given, **paths}
    return validate(BenchmarkConfig, values, source=source)


def configs_of(
    benchmark: str, options: dict[str, Any], protocols: Sequence[str]
) -> list[BenchmarkConfig]:
    """Build a config for each protocol; ids tell them apart where there are several."""
    if len(protocols) < 2:
        return [config_of(benchmark, {**options, "protocol": next(iter(protocols), None)})]
    return [
        config_of(benchmark, {**options, "protocol": protocol, "id": f"{benchmark}.{protocol}"})
        for protocol in dict.fromkeys(protocols)
    ]


def open_subject(
    model: str,
    *,
    name: str | None,
    prompt: str | None,
    dtype: str | None,
    tokenizer: str | None,
) -> Subject:
    """Load the model under test; its answers are kept in HANLIN_CACHE.

    A run that was killed goes on from there.
    """
    from hanlin.cli import console
    from hanlin.evaluation.benchmark import Subject
    from hanlin.evaluation.shared import SharedEngine
    from hanlin.inference.conversation import prompt_format
    from hanlin.inference.engine import open_engine

    engine = open_engine(model, dtype=dtype, tokenizer=tokenizer)
    shared = SharedEngine(_with_journal(engine, model, dtype=dtype), progress=console.progress())
    name = name or Path(getattr(engine, "model_name", model)).name
    return Subject(name, shared, prompt_format(engine, name=prompt))


def _with_journal(engine: Any, model: str, *, dtype: str | None) -> Any:  # noqa: ANN401 - Engine
    from hanlin.core.ranks import rank
    from hanlin.evaluation.cache import CachedEngine, model_digest
    from hanlin.inference.engine import is_address
    from hanlin.pipeline.cache import cache_folder

    stages = cache_folder()
    if stages is None or is_address(model):  # what a server runs may change under its address
        return engine
    parts = [model_digest(model), dtype or "", str(rank() or "")]
    name = "-".join(part for part in parts if part)
    return CachedEngine(engine, stages.parent / "responses" / f"{name}.jsonl")
