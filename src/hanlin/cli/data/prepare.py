"""`hanlin data prepare`: turn texts or conversations into a token store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hanlin.cli.stage_command import stage_command
from hanlin.core.files import read_json

COUNTED = {  # of conversations: what became of them -> its words
    "bad_rows": "bad rows",
    "shortened": "lost their oldest turns",
    "too_long": "too long",
}


def told(store: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what became of the rows of each source."""
    sources: list[dict[str, Any]] = read_json(store / "counts.json")["sources"]
    return {"sources": sources}, [_line(source) for source in sources]


def _line(source: dict[str, Any]) -> str:
    left_out = {reason.replace("_", " "): n for reason, n in source.get("dropped", {}).items() if n}
    left_out |= {words: source[key] for key, words in COUNTED.items() if source.get(key)}
    rows = f"{source['documents']:,} row{'' if source['documents'] == 1 else 's'}"
    text = f"  {source['name']}: {rows}, {source['tokens']:,} tokens"
    if source["trained_tokens"] != source["tokens"]:
        text += f", {source['trained_tokens']:,} of them trained"
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in left_out.items())
    return text + (f"; left out or cut: {reasons}" if reasons else "")


@click.group()
def prepare() -> None:
    """Turn texts or conversations into a token store.

    \b
    Examples:
      hanlin data prepare corpus --config corpus.yaml --out store
      hanlin data prepare chat --config chat.yaml --out chat-store --seq-len 512
    """


@stage_command("prepare-corpus", tell=told)
def corpus() -> None:
    """Turn texts into a token store for pretraining.

    Settings may be given as --key VALUE too; they win over the file.

    \b
    Examples:
      hanlin data prepare corpus --config corpus.yaml --out store
      hanlin data prepare corpus --config corpus.yaml --out store --min-characters 20
      hanlin data prepare corpus --config corpus.yaml --out store --workers 4
      hanlin data prepare corpus --config more.yaml --append-to store --out larger-store
      hanlin data prepare corpus --config corpus.yaml --out store --cleaning.near-duplicates 0.8
    """


@stage_command("prepare-chat", tell=told)
def chat() -> None:
    """Turn conversations into a token store with a loss mask for finetuning.

    Settings may be given as --key VALUE too; they win over the file.

    \b
    Examples:
      hanlin data prepare chat --config chat.yaml --out store
      hanlin data prepare chat --config chat.yaml --out store --prompt alpaca --seq-len 512
    """


for command in (corpus, chat):
    prepare.add_command(command)
