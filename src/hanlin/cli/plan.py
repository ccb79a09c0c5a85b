"""`hanlin plan`: does it fit, how long does it take, what does it cost?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.options import Finite, json_option
from hanlin.core.errors import ConfigError

if TYPE_CHECKING:
    from hanlin.models.published import Comparison
    from hanlin.pipeline.forecast import Fleet, Forecast, Job

METHODS = ("full", "lora", "int8", "qlora")
OPTIMIZERS = ("adamw", "adamw-8bit", "paged-adamw", "paged-adamw-8bit")
GBIT = 8  # of a GB
MILLION_TOKENS = 1_000_000


@dataclass(frozen=True)
class Wish:
    """What is asked for on the command line, without a recipe."""

    model: str
    method: str
    seq_len: int
    rows: int
    step_rows: int | None
    rank: int
    optimizer: str
    checkpointing: bool
    zero: int | None
    offload: str
    tokens: float | None


@click.command()
@click.argument("recipe", required=False)
@click.option("--model", metavar="MODEL", help="A known name, a hub id, a folder or config.json.")
@click.option("--method", type=click.Choice(METHODS), default="lora", show_default=True)
@click.option("--seq-len", type=click.IntRange(8), default=2048, show_default=True)
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Rows of a micro-batch on each card.",
)
@click.option(
    "--step-rows",
    type=click.IntRange(1),
    help="Rows of a step over all cards.  [default: one micro-batch on each]",
)
@click.option("--rank", type=click.IntRange(1), default=16, show_default=True)
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adamw", show_default=True)
@click.option("--checkpointing", is_flag=True, help="Gradient checkpointing.")
@click.option(
    "--zero",
    type=click.IntRange(0, 3),
    help="ZeRO stage; 3 is FSDP too.  [default: 3 for full training on many cards]",
)
@click.option(
    "--offload",
    type=click.Choice(("none", "optimizer", "all")),
    default="none",
    show_default=True,
    help="What ZeRO keeps in the host's memory.",
)
@click.option("--tokens", type=Finite(1), help="Tokens to train on, such as 1e9.")
@click.option(
    "--gpu",
    "gpus_named",
    multiple=True,
    metavar="NAME",
    help="Card, or memory GB:TFLOP/s:GB/s of one's own; several.  [default: all known]",
)
@click.option(
    "--gpus",
    type=click.IntRange(1),
    help="Cards in all, eight in a machine.  [default: 1, or the recipe's processes]",
)
@click.option(
    "--network",
    type=Finite(0, min_open=True),
    default=100.0,
    show_default=True,
    help="Gbit/s between machines.",
)
@click.option("--price", type=Finite(0), help="US dollars for a card and hour.")
@click.option("--tiny", is_flag=True, help="Plan the recipe's small rehearsal.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a picture (PNG) of memory.")
@click.option("--published", is_flag=True, help="Compare with figures that others published.")
@json_option
def plan(  # noqa: PLR0913 - one argument for each option
    recipe: str | None,
    gpus_named: tuple[str, ...],
    gpus: int | None,
    network: float,
    price: float | None,
    tiny: bool,
    plot: Path | None,
    published: bool,
    as_json: bool,
    **wish: Any,  # noqa: ANN401 - the options that make a `Wish`
) -> None:
    """Predict memory, time, disk and cost of RECIPE's training stages, or of one model.

    The formulas are in docs/plan.md, with what they are worth: predictions beside published
    figures.

    \b
    Examples:
      hanlin plan --model llama-13b --method qlora --seq-len 2048 --gpu rtx-2080ti
      hanlin plan --model llama3-8b --method full --gpu h100 --gpus 16 --tokens 1e9
      hanlin plan --model llama-7b --method int8 --seq-len 256 --gpu 16:97:500 --json
      hanlin plan chinese-vicuna-7b --gpu rtx-2080ti
      hanlin plan --published
    """
    if published:
        _show_published(as_json)
        return
    fleets = _fleets(gpus_named, network=network, price=price)
    jobs = _jobs(recipe, wish, gpus=gpus, tiny=tiny)
    forecasts = _forecasts(jobs, fleets, gpus=gpus)
    scaled = _scaled(jobs, fleets[0], gpus=gpus) if len(fleets) == 1 else []
    if plot is not None:
        from hanlin.pipeline.forecast_plot import plot_memory

        plot_memory(forecasts, plot)
        console.note(f"written: {plot}")
    value = {
        "forecasts": [item.as_dict() for item in forecasts],
        "scaling": [item.as_dict() for item in scaled],
    }
    console.result(value, as_json=as_json, text=_text(forecasts, scaled))


def _fleets(names: tuple[str, ...], *, network: float, price: float | None) -> list[Fleet]:
    from hanlin.models.cards import find_card, known_cards
    from hanlin.pipeline.forecast import Fleet

    cards = [find_card(name) for name in names] or list(known_cards().values())
    return [Fleet(card, 1, network / GBIT, price) for card in cards]


def _jobs(recipe: str | None, wish: dict[str, Any], *, gpus: int | None, tiny: bool) -> list[Job]:
    if (recipe is None) == (wish["model"] is None):
        raise ConfigError(
            "give a recipe or --model" if recipe is None else "a recipe and --model are both given",
            why="a plan is made for the training stages of a recipe, or for one model",
            fix="hanlin plan RECIPE, or hanlin plan --model llama-13b --method qlora",
        )
    if recipe is None:
        return [_job_of(Wish(**wish), gpus or 1)]
    from hanlin.pipeline.recipe import find_recipe, load_recipe
    from hanlin.pipeline.recipe_jobs import jobs_of

    loaded = load_recipe(find_recipe(recipe), is_tiny=tiny)
    jobs = jobs_of(loaded)
    if not jobs:
        raise ConfigError(
            f"nothing can be planned for the recipe {loaded.name!r}",
            why="it has no training stage whose model's shape is known",
            fix="name a model that `hanlin plan --model` knows, or give its local folder",
        )
    return jobs


def _job_of(wish: Wish, gpus: int) -> Job:
    from hanlin.models.memory import Training
    from hanlin.models.shapes import find_shape
    from hanlin.pipeline.forecast import Job

    is_full = wish.method == "full"
    zero = wish.zero if wish.zero is not None else (3 if is_full and gpus > 1 else 0)
    training = Training(
        method=wish.method,
        rows=wish.rows,
        seq_len=wish.seq_len,
        precision="bf16",
        rank=0 if is_full else wish.rank,
        is_recomputing=wish.checkpointing,
        optimizer=wish.optimizer,
        zero_stage=zero,
        on_host=wish.offload,  # type: ignore[arg-type]
    )
    tokens = None if wish.tokens is None else round(wish.tokens)
    return Job(wish.model, find_shape(wish.model), training, wish.step_rows, tokens)


def _forecasts(jobs: list[Job], fleets: list[Fleet], *, gpus: int | None) -> list[Forecast]:
    from hanlin.pipeline.forecast import forecast

    return [
        forecast(job, replace(fleet, gpus=gpus or job.training.processes))
        for job in jobs
        for fleet in fleets
    ]


def _scaled(jobs: list[Job], fleet: Fleet, *, gpus: int | None) -> list[Forecast]:
    from hanlin.pipeline.forecast import scaling

    found = []
    for job in jobs:
        most = gpus or job.training.processes
        counts = [2**power for power in range(most.bit_length()) if 2**power < most]
        if counts:
            found += scaling(job, fleet, counts=(*counts, most))
    return found


def _text(forecasts: list[Forecast], scaled: list[Forecast]) -> str:
    parts = []
    for name in dict.fromkeys(item.job.name for item in forecasts):
        mine = [item for item in forecasts if item.job.name == name]
        parts.append(_headline(mine[0]))
        parts.append(_table(mine) if len(mine) > 1 else _details(mine[0]))
        also = [item for item in scaled if item.job.name == name]
        if also:
            parts.append(_scaling_table(also))
    return "\n\n".join(parts)


def _headline(item: Forecast) -> str:
    training, info = item.training, item.job.info
    words = [
        f"{item.job.name}: {info.parameters / 1e9:.2f} B parameters, {training.method}",
        f"{training.rows} x {training.seq_len} tokens",
    ]
    if training.rank:
        words.append(f"rank {training.rank}")
    if training.is_recomputing:
        words.append("gradient checkpointing")
    return ", ".join(words)


def _details(item: Forecast) -> str:
    card, memory = item.fleet.card, item.memory
    verdict = "fits" if item.fits else "does not fit"
    lines = [
        f"{verdict}: {_gib(memory.total)} at the peak, of {_gib(card.usable_bytes)} usable on "
        f"{'a' if item.fleet.gpus == 1 else f'each of {item.fleet.gpus}'} {card.title}",
        "",
        console.table(
            [
                [name.replace("_", " "), _gib(size)]
                for name, size in memory.as_dict().items()
                if size
            ],
            header=["at the peak", "each card"],
        ),
        "",
        f"speed: about {item.tokens_per_second:,.0f} tokens/s, {_length(item)}",
        f"disk: {item.disk_bytes / 1e9:.1f} GB for the model, the result and checkpoints",
    ]
    if item.host_bytes:
        lines.append(f"host: {item.host_bytes / 1e9:.0f} GB of each machine's own memory")
    if item.traffic_bytes:
        share = item.step.communication / item.step.total
        lines.append(
            f"traffic: {item.traffic_bytes / 1e9:.1f} GB for each card and step, {share:.0%} of "
            "the time"
        )
    if not item.fits:
        lines += ["", "what makes it fit, cheapest first:"]
        lines += [f"  {change.text}: {_gib(change.total)}" for change in item.changes] or [
            "  nothing that is known here: take a smaller model or more cards"
        ]
    return "\n".join(lines)


def _length(item: Forecast) -> str:
    if item.hours is None:
        seconds = MILLION_TOKENS / item.tokens_per_second
        return f"{seconds / 60:.1f} minutes for a million tokens (--tokens N for all of it)"
    tokens = item.job.tokens or 0
    cost = "" if item.usd is None else f", about {item.usd:,.0f} US dollars"
    return f"{item.hours:,.1f} hours for {tokens / 1e6:,.1f} million tokens{cost}"


def _table(items: list[Forecast]) -> str:
    rows = []
    for item in items:
        card = item.fleet.card
        rows.append(
            [
                card.name,
                f"{card.memory_gb:g}",
                _gib(item.memory.total),
                "yes" if item.fits else "no",
                f"{item.tokens_per_second:,.0f}",
                "-" if item.hours is None else f"{item.hours:,.1f}",
                "-" if item.usd is None else f"{item.usd:,.0f}",
                item.changes[0].text if item.changes else "",
            ]
        )
    header = ["card", "GiB", "peak", "fits", "tokens/s", "hours", "US$", "what makes it fit"]
    return console.table(rows, header=header)


def _scaling_table(items: list[Forecast]) -> str:
    first = items[0]
    rows = [
        [
            str(item.fleet.gpus),
            str(item.fleet.nodes),
            _gib(item.memory.total),
            "yes" if item.fits else "no",
            f"{item.tokens_per_second:,.0f}",
            f"{item.tokens_per_second / first.tokens_per_second / item.fleet.gpus:.0%}",
        ]
        for item in items
    ]
    header = ["cards", "machines", "peak", "fits", "tokens/s", "of linear"]
    return console.table(rows, header=header)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _show_published(as_json: bool) -> None:
    from dataclasses import asdict

    from hanlin.models.published import median_error, memory_comparisons, speed_comparisons

    memory, speed = memory_comparisons(), speed_comparisons()
    value = {
        "memory": [asdict(item) | {"error": round(item.error, 4)} for item in memory],
        "speed": [asdict(item) | {"error": round(item.error, 4)} for item in speed],
        "median_error": {
            "memory": round(median_error(memory), 4),
            "speed": round(median_error(speed), 4),
        },
    }
    text = "\n\n".join(
        f"{what}: median error {median_error(items):.1%}\n\n{_comparison_table(items)}"
        for what, items in (("memory", memory), ("speed", speed))
    )
    console.result(value, as_json=as_json, text=text)


def _comparison_table(items: list[Comparison]) -> str:
    rows = [
        [
            item.program,
            item.model,
            item.method,
            f"{item.published:,g} {item.unit}",
            f"{item.predicted:,g}",
            f"{item.error:+.0%}",
            item.note,
        ]
        for item in items
    ]
    header = ["by", "model", "method", "published", "predicted", "error", "settings"]
    return console.table(rows, header=header)
