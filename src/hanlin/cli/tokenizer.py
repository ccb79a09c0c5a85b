"""`hanlin tokenizer`: train, extend and compare tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

FILE = click.Path(path_type=Path)


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


@click.group()
def tokenizer() -> None:
    """Train, extend and compare tokenizers.

    \b
    Examples:
      hanlin tokenizer train corpus.txt --vocab-size 8000 --out my-tokenizer
      hanlin tokenizer compare my-tokenizer --text corpus.txt
    """


@tokenizer.command(cls=ManyFiles)
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--vocab-size", type=int, required=True, help="Entries, bytes and specials included.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the training.")
@out_option()
@force_option
@json_option
def train(
    files: tuple[Path, ...], vocab_size: int, seed: int, out: Path, force: bool, as_json: bool
) -> None:
    """Train a SentencePiece tokenizer like LLaMA's on FILES (.txt, or .jsonl with "text").

    \b
    Examples:
      hanlin tokenizer train corpus.txt --vocab-size 8000 --out my-tokenizer
      hanlin tokenizer train en.jsonl more.txt --vocab-size 32000 --out my-tokenizer --force
    """
    from hanlin.core.files import atomic_directory
    from hanlin.tokenization.load import load
    from hanlin.tokenization.texts import read_all
    from hanlin.tokenization.train import train_sentencepiece

    texts = [row.text for row in read_all(files)]
    with atomic_directory(out, force=force) as folder:
        train_sentencepiece(texts, vocab_size=vocab_size, out=folder, seed=seed)
    made = load(out)
    value = {"path": str(out), "vocab_size": made.vocab_size, "sha256": made.sha256}
    console.result(value, as_json=as_json, text=f"{out}: {made.vocab_size} entries")


@tokenizer.command(cls=ManyFiles)
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


@tokenizer.command(cls=ManyFiles)
@click.argument("tokenizers", nargs=-1, required=True)
@click.option("--text", "texts", type=FILE, multiple=True, required=True, metavar="FILE...",
              help="Texts to measure on (.txt, or .jsonl with \"text\").")  # fmt: skip
@json_option
def compare(tokenizers: tuple[str, ...], texts: tuple[Path, ...], as_json: bool) -> None:
    """Measure TOKENIZERS on texts: tokens per character, bytes, and whether texts come back.

    \b
    Examples:
      hanlin tokenizer compare base extended --text zh.jsonl en.txt
      hanlin tokenizer compare base extended --text zh.jsonl --json
    """
    from hanlin.tokenization.load import load
    from hanlin.tokenization.texts import read_all

    samples = {str(file): [row.text for row in read_all([file])] for file in texts}
    value = [
        _measured(load(path), path, file, sample)
        for path in tokenizers
        for file, sample in samples.items()
    ]
    header = ["tokenizer", "text", "entries", "characters", "tokens", "tokens/char", "bytes share",
              "round trip"]  # fmt: skip
    rows = [
        [
            row["tokenizer"], row["text"], str(row["vocab_size"]), str(row["characters"]),
            str(row["tokens"]), f"{row['tokens_per_character']:.3f}",
            f"{row['byte_fallback_share']:.1%}",
            "exact" if row["broken_texts"] == 0 else f"{row['broken_texts']} texts differ",
        ]
        for row in value
    ]  # fmt: skip
    console.result(value, as_json=as_json, text=console.table(rows, header=header))


def _measured(tokenizer: Tokenizer, path: str, file: str, texts: list[str]) -> dict[str, Any]:
    from hanlin.tokenization.fertility import count_broken, measure

    return {
        "tokenizer": path,
        "text": file,
        "vocab_size": tokenizer.vocab_size,
        **measure(tokenizer, texts).as_dict(),
        "broken_texts": count_broken(tokenizer, texts),
    }
