"""`hanlin`: the entry point. A command's module is imported only when the command is used."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path

import click

from hanlin import __version__
from hanlin.cli import console
from hanlin.core.errors import ConfigError, HanlinError
from hanlin.core.registry import did_you_mean

# name -> ("module:command", one line of help). The help is here so that --help imports nothing.
COMMANDS = {
    "run": ("hanlin.cli.run:run", "Run a recipe from base model to report card."),
    "recipe": ("hanlin.cli.recipe:recipe", "List, show and check recipes."),
    "plan": ("hanlin.cli.plan:plan", "Predict memory, time, disk and cost."),
    "doctor": ("hanlin.cli.doctor:doctor", "Check machine, packages, cards, hub and disk."),
    "report": ("hanlin.cli.report:report", "Show, write and compare report cards."),
    "tokenizer": ("hanlin.cli.tokenizer:tokenizer", "Train, extend and compare tokenizers."),
    "data": ("hanlin.cli.data:data", "Make, inspect and prepare data."),
    "model": ("hanlin.cli.model:model", "Make a small base model, grow a model's rows."),
    "pretrain": ("hanlin.cli.pretrain:pretrain", "Continue pretraining on a token store."),
    "finetune": ("hanlin.cli.finetune:finetune", "Tune on conversations, full or LoRA."),
    "dpo": ("hanlin.cli.dpo:dpo", "Tune on better and worse answers (DPO)."),
    "eval": ("hanlin.cli.eval:eval_", "Run and compare benchmarks."),
    "extract": ("hanlin.cli.extract:extract", "Extract entities, relations and events."),
    "weights": ("hanlin.cli.weights:weights", "Merge, export and verify checkpoints."),
    "chat": ("hanlin.cli.chat:chat", "Chat with a model in the terminal."),
    "serve": ("hanlin.cli.serve:serve", "Serve a model over HTTP, with a web page."),
}


class LazyGroup(click.Group):
    """Knows every command's name and help; loads the module on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise ConfigError(
                f"unknown command {args[0]!r}",
                fix=did_you_mean(args[0], COMMANDS) or "hanlin --help lists the commands",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hanlin")
@click.option("-q", "--quiet", is_flag=True, help="Print results and errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Print what the libraries log as well.")
def cli(quiet: bool, verbose: bool) -> None:
    """Take an open LLaMA-family base model to a new language and a new field of knowledge.

    \b
    Examples:
      hanlin run quickstart
      hanlin recipe list
      hanlin report runs/quickstart
    """
    console.set_quiet(quiet)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    if not verbose:  # what libraries will rename one day is for us to read, not for users
        warnings.simplefilter("ignore", FutureWarning)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Waiting threads sleep instead of spinning: the same speed on a quiet machine, twice the speed
    # on a busy one (docs/log.md). Read by torch's OpenMP when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # transformers imports DeepSpeed where it is installed, and without a GPU that prints a warning
    # on stdout, where results go; told so, it is silent.
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def main() -> None:
    """Run the command line: the one place where errors become exit codes."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        cli.main(arguments, prog_name="hanlin", standalone_mode=False)
    except HanlinError as error:
        console.error(f"error: {error}")
        return error.exit_code
    except click.ClickException as error:
        error.show(sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        console.error("interrupted; the same command goes on from here")
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - nobody reads any more
        return 0
    except Exception:
        console.error(f"{traceback.format_exc()}\nerror: this is a bug in Hanlin {__version__}")
        console.error("  fix: please report the lines above, with the command and the recipe")
        return 1
    return 0
