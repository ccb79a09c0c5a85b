"""Commands that run one stage: `--config FILE`, every key as `--KEY VALUE`, `--out DIR`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option, read_config, seed_option
from hanlin.core.errors import InputError

Tell = Callable[[Path], tuple[dict[str, Any], list[str]]]


def stage_command(
    kind: str, *, resumes: bool = False, continues: bool = False, tell: Tell | None = None
) -> Callable[[Callable[[], None]], click.Command]:
    """Make a command of a function that only has a name and a help text.

    Args:
        kind: the stage's name in `pipeline.stages`.
        resumes: it has `--resume`.
        continues: it has `--continue`.
        tell: result's folder -> what else is told of it, and in which lines.
    """

    def make(function: Callable[[], None]) -> click.Command:
        def run(settings: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
            run_stage(kind, settings=settings, tell=tell, **options)

        run.__doc__ = function.__doc__
        command = click.command(
            function.__name__,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        ways = [_continue] * continues + [_resume] * resumes
        shared = (json_option, force_option, out_option(), seed_option, _config)
        for option in (_settings, *ways, *shared):
            run = option(run)
        return command(run)

    return make


_config = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with the stage's settings, as below its name in a recipe.",
)
_resume = click.option(
    "--resume", is_flag=True, help="Go on with an interrupted run, or fail: never begin anew."
)
_continue = click.option(
    "--continue", "continue_from", metavar="STATE",
    help="Keep optimizer and schedule of an earlier run (its `state`); the data begins anew.",
)  # fmt: skip
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
    resume: bool = False,
    continue_from: str | None = None,
    tell: Tell | None = None,
) -> None:
    """Run one stage and print where its result lies, and what `tell` says of it.

    Raises:
        InputError: there is nothing to resume.
    """
    from hanlin.pipeline.run import is_interrupted, run_single
    from hanlin.pipeline.stages import STAGES

    if continue_from is not None:
        settings = (*settings, "--continue_from", continue_from)
    config = read_config(STAGES.get(kind).config, config_file, settings)
    if resume and not is_interrupted(kind, config, out=out, seed=seed):
        raise InputError(
            f"there is no interrupted run of these settings to resume for {out}",
            why="settings, inputs and seed must be those that it began with; only the number of "
            "processes may change",
            fix="give them as they were, or leave --resume out to begin anew",
        )
    made = run_single(
        kind, config, out=out, force=force, seed=seed,
        progress=console.progress(), note=console.note,
    )  # fmt: skip
    more, lines = tell(made) if tell else ({}, [])
    console.result({"out": str(made), **more}, as_json=as_json, text="\n".join([str(made), *lines]))
