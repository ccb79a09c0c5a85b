"""`hanlin data prepare`: turn texts or conversations into a token store."""

from __future__ import annotations

import click

from hanlin.cli.stage_command import stage_command


@click.group()
def prepare() -> None:
    """Turn texts or conversations into a token store.

    \b
    Examples:
      hanlin data prepare corpus --config corpus.yaml --out store
      hanlin data prepare chat --config chat.yaml --out chat-store --seq-len 512
    """


@stage_command("prepare-corpus")
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


@stage_command("prepare-chat")
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
