"""`hanlin weights recover`: a base and a diff become the tuned model again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, max_shard_option

if TYPE_CHECKING:
    from hanlin.weights.diff.additive import AdditiveRecovery, NewRows


@click.command()
@click.argument("base")
@click.argument("diff")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--new-rows", type=click.Choice(["mean", "zero"]),
    help="Additive diff with more rows than BASE: what its authors continued BASE with.",
)  # fmt: skip
@click.option(
    "--expect-sum",
    type=float,
    metavar="NUMBER",
    help="Additive diff: refuse a result whose values add up to another sum.",
)
@max_shard_option
@force_option
@json_option
def recover(  # noqa: PLR0913 - one argument for each option
    base: str,
    diff: str,
    out: Path,
    *,
    new_rows: str | None,
    expect_sum: float | None,
    max_shard_gb: float,
    force: bool,
    as_json: bool,
) -> None:
    """Write the tuned model that DIFF was made of, from BASE and DIFF, to OUT.

    DIFF comes from hanlin weights diff: every tensor is compared with the digest that it names.
    Or it is an additive diff (tuned - base, as Alpaca, Vicuna and KnowLM published them): diff +
    base is computed in the diff's type, and the sum of all values is reported. Given again after
    an interruption, it goes on.

    \b
    Examples:
      hanlin weights recover llama-2-13b-hf my-diff my-tuned-13b
      hanlin weights recover llama-13b-hf zhixi-13b-diff zhixi-13b --expect-sum 94052.2891
      hanlin weights recover llama-7b-hf alpaca-7b-wdiff alpaca-7b --new-rows mean --json
    """
    from hanlin.core.meter import size_text
    from hanlin.weights.diff.additive import AdditiveRecovery, Options
    from hanlin.weights.diff.recover import recover as recover_model

    options = Options(
        max_shard_bytes=int(max_shard_gb * 1e9),
        new_rows=cast("NewRows | None", new_rows),
        expect_sum=expect_sum,
    )
    done = recover_model(base, diff, out, options=options, force=force, progress=console.progress())
    text = f"{out}: {done.tensors} tensors, {size_text(done.size_bytes)}"
    if isinstance(done, AdditiveRecovery):
        text += f"\n{_sum_text(done)}"
    else:
        text += f", all with the digests of {done.tuned}"
    console.result({"out": str(out), **done.to_json()}, as_json=as_json, text=text)


def _sum_text(done: AdditiveRecovery) -> str:
    known = f"that is {done.published}" if done.published else "no published sum that we know"
    lines = [f"diff + base; all values add up to {done.check_sum:.4f} ({known})"]
    if done.unused:
        more = f" and {len(done.unused) - 3} more" if len(done.unused) > 3 else ""
        lines.append(f"not in the diff: {', '.join(done.unused[:3])}{more}")
    return "\n".join(lines)
