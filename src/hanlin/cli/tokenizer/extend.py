"""`hanlin tokenizer extend`: pieces of a new language for a base tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.options import ManyFiles, force_option, json_option, out_option

if TYPE_CHECKING:
    pass

FILE = click.Path(path_type=Path)


@click.command(cls=ManyFiles)
@click.argument("base")
@click.option("--pieces", type=FILE, help="A SentencePiece model whose pieces are added.")
@click.option(
    "--corpus", type=FILE, multiple=True, metavar="FILE...", help="Train pieces on these."
)
@click.option("--add", type=int, help="Pieces to add; with --pieces: at most.")
@click.option("--control", type=FILE, multiple=True, metavar="FILE...",
              help="Texts of the base language; their ids must not change.")  # fmt: skip
@out_option()
@force_option
@json_option
def extend(out: Path, force: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Add pieces of a new language to the tokenizer of BASE; old ids never move.

    \b
    Examples:
      hanlin tokenizer extend BASE --corpus zh.jsonl --add 4000 --control en.txt --out extended
      hanlin tokenizer extend BASE --pieces chinese_sp.model --out extended
    """
    from hanlin.core.config import ConfigSource, validate
    from hanlin.core.files import atomic_directory, write_json
    from hanlin.tokenization.extend import Config, extend_files

    given |= {name: [str(file) for file in given[name]] for name in ("corpus", "control")}
    given["pieces"] = str(given["pieces"]) if given["pieces"] else None
    config = validate(Config, given, source=ConfigSource("the command line", Path.cwd()))
    with atomic_directory(out, force=force) as folder:
        report = extend_files(config, folder=folder, progress=console.progress())
        write_json(folder / "fertility.json", report)
    console.result({"path": str(out), **report}, as_json=as_json, text=_extension(out, report))


def _extension(out: Path, report: dict[str, Any]) -> str:
    """Lay out `fertility.json` for people."""
    lines = [
        f"{out}: {report['added']} pieces added",
        f"not added: {report['duplicates']} are in the base already, "
        f"{report['could_move_base']} could match texts of the base language, "
        f"{report['dropped_unreachable']} cannot be reached by merges",
    ]
    if report["control_texts"]:
        lines.append(
            f"control texts with other ids: {report['english_ids_changed']} of "
            f"{report['control_texts']}"
        )
    rows = [
        [name, *(f"{counts[side]['tokens_per_character']:.3f}" for side in ("before", "after"))]
        for name, counts in report.items()
        if isinstance(counts, dict)
    ]
    if rows:
        lines += ["", console.table(rows, header=["tokens per character", "before", "after"])]
    return "\n".join(lines)
