"""`hanlin chat MODEL`: talk to a model in the terminal, or answer the lines of a pipe.

hanlin chat runs/quickstart
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import json_option

if TYPE_CHECKING:
    from hanlin.inference.conversation import Talk

HELP = """/help          this list
/reset         begin a new conversation
/system TEXT   set what the system message says; without TEXT there is none
/quit          leave (or Ctrl-D)
Ctrl-C stops an answer."""


@click.command()
@click.argument("model")
@click.option("--prompt", help="Prompt format; default: the one the model was tuned on.")
@click.option("--system", help="System message.")
@click.option("--max-new-tokens", default=256, show_default=True, help="Longest answer, in tokens.")
@click.option(
    "--temperature", default=0.0, show_default=True, help="0: always the likeliest token."
)
@click.option(
    "--top-p", default=1.0, show_default=True, help="Share of likely tokens to draw from."
)
@click.option("--seed", default=0, show_default=True, help="Of the random numbers.")
@json_option
def chat(  # noqa: PLR0913 - one for each option
    model: str,
    *,
    prompt: str | None,
    system: str | None,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    as_json: bool,
) -> None:
    """Chat with MODEL: a folder, a .gguf file, a run directory or a hub id.

    In a pipe every line is a question and every answer goes to stdout; the lines are one
    conversation, in which a line /reset begins another.

    \b
    Examples:
      hanlin chat runs/quickstart
      hanlin chat runs/quickstart --temperature 0.7 --seed 1
      echo 刘立正出生在哪里？ | hanlin chat runs/quickstart
    """
    from hanlin.inference.conversation import Talk, prompt_format
    from hanlin.inference.engine import Sampling, open_engine

    sampling = Sampling(max_new_tokens, temperature, top_p=top_p, seed=seed)
    engine = open_engine(model)
    talk = Talk(engine, format=prompt_format(engine, name=prompt), sampling=sampling, system=system)
    is_terminal = sys.stdin.isatty()
    lines = _typed_lines() if is_terminal else _piped_lines()
    turns = []
    for line in lines:
        if line.startswith("/"):
            if _obey(line, talk):
                break
            continue
        answer = _answer(talk, line, may_cancel=is_terminal, show=not as_json)
        turns.append({"question": line, "answer": answer})
    if as_json:
        console.result({"model": model, "turns": turns}, as_json=True, text="")


def _typed_lines() -> Iterator[str]:
    """Yield what is typed, with line editing where Python has it, until Ctrl-D or Ctrl-C."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - importing it gives input() its editing keys
    console.note("/help lists the commands, /quit leaves.")
    return _lines(lambda: input("> "))


def _piped_lines() -> Iterator[str]:
    return _lines(lambda: next(sys.stdin))


def _lines(read: Callable[[], str]) -> Iterator[str]:
    """Yield lines that are not empty; bytes that are no UTF-8 become U+FFFD."""
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    while True:
        try:
            line = read().strip().removeprefix("\ufeff")
        except (EOFError, StopIteration):
            return
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            return
        if line:
            yield line


def _obey(line: str, talk: Talk) -> bool:
    """Carry out a command; return whether it ends the chat."""
    command, _, rest = line.partition(" ")
    if command == "/quit":
        return True
    if command == "/reset":
        talk.reset()
        console.note("A new conversation.")
    elif command == "/system":
        talk.system = rest.strip() or None
        console.note(f"System message: {talk.system or 'none'}")
    else:
        console.note(HELP if command == "/help" else f"unknown command {command}\n{HELP}")
    return False


@contextlib.contextmanager
def _ctrl_c(*, is_caught: bool) -> Iterator[list[int]]:
    """Fill a list at Ctrl-C while the block runs; a second one interrupts it.

    An exception at any moment can be lost in a library's clean-up; a mark cannot.
    """
    pressed: list[int] = []
    if not is_caught:
        yield pressed
        return

    def mark(number: int, _frame: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, mark)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _answer(talk: Talk, question: str, *, may_cancel: bool, show: bool) -> str:
    """Write the answer as it comes, and return it."""
    from hanlin.core.errors import InputError

    parts = []
    pieces = talk.ask(question)
    try:
        with _ctrl_c(is_caught=may_cancel) as pressed:
            for text in pieces:
                parts.append(text)
                if show:
                    console.write(text)
                if pressed:
                    break
        if pressed:
            console.note("\n(stopped)")
    except InputError as error:
        if not may_cancel:
            raise
        console.error(f"error: {error}")  # a question that is too long does not end the chat
    finally:
        pieces.close()
    if show:
        console.write("\n")
    if talk.num_forgotten:
        console.note(f"(the first {talk.num_forgotten} turns no longer fit into the context)")
    return "".join(parts).rstrip()
