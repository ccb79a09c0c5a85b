"""`hanlin tokenizer extend`: pieces of a new language for a base tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.options import (
    ManyFiles,
    force_option,
    json_option,
    max_bad_rows_option,
    out_option,
    seed_option,
)

FILE = click.Path(path_type=Path)


@click.command(cls=ManyFiles)
@click.argument("base")
@click.option("--pieces", type=FILE, help="A SentencePiece model whose pieces are added.")
@click.option(
    "--corpus", type=FILE, multiple=True, metavar="FILE...", help="Choose pieces by these texts."
)
@click.option("--add", type=int, help="Pieces to add; with --pieces alone: at most.")
@click.option("--control", type=FILE, multiple=True, metavar="FILE...",
              help="Texts of the base language; their ids must not change.")  # fmt: skip
@click.option("--compat", type=click.Choice(["chinese-llama"]),
              help="Add --pieces as a published script does: in order, score 0.")  # fmt: skip
@click.option("--allow-changed", is_flag=True, help="Let ids of the base language change.")
@click.option("--whole-words/--any-pieces", default=True, show_default=True,
              help="From a corpus: no piece of a comma and the word behind it.")  # fmt: skip
@click.option("--special", multiple=True, metavar="TOKEN...", help="Special tokens to add.")
@click.option("--pad-to-multiple", type=int, default=1, show_default=True,
              help="Fill up with unused tokens to a multiple.")  # fmt: skip
@max_bad_rows_option
@seed_option
@out_option()
@force_option
@json_option
def extend(out: Path, force: bool, as_json: bool, seed: int, **given: Any) -> None:  # noqa: ANN401
    """Add pieces of a new language to the tokenizer of BASE; old ids never move.

    BASE has a tokenizer.model (LLaMA 1 and 2) or is a byte-level BPE (LLaMA 3, Qwen). Beside the
    tokenizer, fertility.json has the tokens per character before and after, extension.json the
    pieces by name.

    \b
    Examples:
      hanlin tokenizer extend BASE --corpus zh.jsonl --add 4000 --control en.txt --out extended
      hanlin tokenizer extend BASE --pieces chinese_sp.model --out extended
      hanlin tokenizer extend BASE --pieces chinese_sp.model --compat chinese-llama --out extended
      hanlin tokenizer extend BASE --corpus zh.jsonl --add 4000 --special '<end>' --out extended
      hanlin tokenizer extend BASE --special '<end>' --out extended
    """
    from hanlin.core.config import ConfigSource, validate
    from hanlin.core.files import atomic_directory, write_json
    from hanlin.tokenization.extend import Config, extend_files

    given |= {name: [str(file) for file in given[name]] for name in ("corpus", "control")}
    given["pieces"] = str(given["pieces"]) if given["pieces"] else None
    given["special"] = list(given["special"])
    config = validate(Config, given, source=ConfigSource("the command line", Path.cwd()))
    with atomic_directory(out, force=force) as folder:
        report, details = extend_files(
            config, folder=folder, seed=seed, progress=console.progress()
        )
        write_json(folder / "fertility.json", report)
        write_json(folder / "extension.json", details)
    text = _extension(out, report, is_compat=given["compat"] is not None)
    console.result({"path": str(out), **report}, as_json=as_json, text=text)


def _extension(out: Path, report: dict[str, Any], *, is_compat: bool) -> str:
    """Lay out `fertility.json` for people."""
    lines = [f"{out}: {report['added']} pieces added, {report['vocab_size']} entries now"]
    if report["added"]:
        left_out = f"not added: {report['duplicates']} that the base has already"
        if not is_compat:
            left_out += (
                f", {report['could_move_base']} that could match texts of the base language, "
                f"{report['dropped_unreachable']} that no merges lead to"
            )
        lines.append(left_out)
    more = {"could_move_base": "of them can match texts of the base language"} if is_compat else {}
    more |= {
        "helpers": "of them are steps on the way to others, and were not offered",
        "unreachable": "of them are never made from any text",
        "special_added": "special tokens added",
        "padded": "unused tokens fill it up",
    }
    lines += [f"{report[key]} {words}" for key, words in more.items() if report[key]]
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
