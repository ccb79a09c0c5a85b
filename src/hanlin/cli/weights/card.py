"""`hanlin weights card`: what a person must know before using or passing on a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option
from hanlin.core.errors import ConfigError

if TYPE_CHECKING:
    from hanlin.weights.card.card import ModelCard

path = click.Path(path_type=Path)


@click.command()
@click.argument("model", type=path)
@click.option(
    "--report", metavar="RUN", type=path,
    help="The run that made MODEL; left out: the one that MODEL lies in.",
)  # fmt: skip
@click.option("--name", default="", help="The model's name, or its id on the hub (OWNER/NAME).")
@click.option("--about", default="", help="What it is for, in a sentence.")
@click.option("--license", default="", metavar="ID", help="The license that you give it.")
@click.option("--base-model", "base", default="", metavar="ID", help="Its base model on the hub.")
@click.option("--base-license", default="", metavar="ID", help="The base model's license.")
@click.option(
    "--data", multiple=True, metavar="NAME=ID",
    help="The license of a data source of the run, or of a data set on the hub; repeatable.",
)  # fmt: skip
@click.option("--language", "languages", multiple=True, help="zh, en, ...; repeatable.")
@click.option("--out", type=path, help="Where the page goes.  [default: MODEL/README.md]")
@force_option
@json_option
def card(  # noqa: PLR0913 - one argument for each option
    model: Path,
    *,
    report: Path | None,
    name: str,
    about: str,
    license: str,
    base: str,
    base_license: str,
    data: tuple[str, ...],
    languages: tuple[str, ...],
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the model card of MODEL: README.md with the hub's metadata.

    MODEL is a model's or an adapter's folder, or a run directory (its last model is taken). The
    card has the licenses of base model and data and what they forbid, the numbers of the run's
    report card with intervals and chance, the prompt format, how the model was trained and loaded,
    and its limits. What no file says and no option gives is said to be not known.

    \b
    Examples:
      hanlin weights card runs/quickstart
      hanlin weights card runs/mine/merge/model --license cc-by-nc-4.0 --data zh=cc-by-sa-4.0
      hanlin weights card my-adapter --base-model huggyllama/llama-7b --out card.md --json
    """
    from hanlin.models.runs import last_model
    from hanlin.pipeline.report.build import write
    from hanlin.weights.card.card import FILE_NAME, Given, make_card, write_card
    from hanlin.weights.card.lineage import run_of

    folder = last_model(model)
    run_dir = report or run_of(folder)
    given = Given(
        name=name, about=about, license=license, base=base, base_license=base_license,
        data=dict(map(_pair, data)), languages=languages,
    )  # fmt: skip
    if run_dir is not None:
        write(run_dir)
    made = make_card(folder, given, run_dir=run_dir)
    file = out or folder / FILE_NAME
    write_card(made, file, force=force)
    console.result({"out": str(file), **made.to_json()}, as_json=as_json, text=_text(made, file))


def _text(made: ModelCard, file: Path) -> str:
    """Say what the card says of licenses, shortly."""
    chain = made.chain
    license = chain.result.name if chain.result else "not known"
    lines = [f"{file}: {len(made.results)} numbers; license: {license}"]
    for links, what in (
        (chain.forbids_commercial, "no commercial use"),
        (chain.forbids_changes, "not to be passed on"),
        (chain.unknown, "license not known (--data NAME=ID, --base-license ID)"),
    ):
        if links:
            lines.append(f"{what}: {', '.join(link.name for link in links)}")
    lines += [f"the license promises more than {conflict}" for conflict in chain.conflicts]
    return "\n".join(lines)


def _pair(text: str) -> tuple[str, str]:
    name, equals, license = text.rpartition("=")
    if not equals or not name or not license:
        raise ConfigError(
            f"cannot read --data {text!r}",
            why="a license is given as NAME=ID",
            fix="write for example --data zh=cc-by-sa-4.0",
        )
    return name, license
