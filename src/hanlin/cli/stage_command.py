"""Commands that run one stage: `--config FILE`, every key as `--KEY VALUE`, `--out DIR`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option, read_config, seed_option


def stage_command(kind: str) -> Callable[[Callable[[], None]], click.Command]:
    """Make a command of a function that only has a name and a help text.

    Args:
        kind: the stage's name in `pipeline.stages`.
    """

    def make(function: Callable[[], None]) -> click.Command:
        def run(
            config_file: Path | None,
            seed: int,
            out: Path,
            force: bool,
            as_json: bool,
            settings: tuple[str, ...],
        ) -> None:
            run_stage(kind, config_file, settings, out=out, force=force, seed=seed, as_json=as_json)

        run.__doc__ = function.__doc__
        command = click.command(
            function.__name__,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        for option in (_settings, json_option, force_option, out_option(), seed_option, _config):
            run = option(run)
        return command(run)

    return make


_config = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with the stage's settings, as below its name in a recipe.",
)
_settings = click.argument("settings", nargs=-1, type=click.UNPROCESSED)


def run_stage(  # noqa: PLR0913 - one argument for each option
    kind: str,
    config_file: Path | None = None,
    settings: tuple[str, ...] = (),
    *,
    out: Path,
    force: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Run one stage and print where its result lies."""
    from hanlin.pipeline.run import run_single
    from hanlin.pipeline.stages import STAGES

    config = read_config(STAGES.get(kind).config, config_file, settings)
    made = run_single(kind, config, out=out, force=force, seed=seed, progress=console.progress())
    console.result({"out": str(made)}, as_json=as_json, text=str(made))
