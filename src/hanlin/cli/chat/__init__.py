"""`hanlin chat MODEL`: talk to a model in the terminal, or answer a pipe or a file of questions.

hanlin chat runs/quickstart
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.chat.settings import decoding_options, engine_options, take_engine, take_sampling
from hanlin.cli.chat.typed import ENCODINGS
from hanlin.cli.options import force_option, json_option
from hanlin.core.errors import ConfigError, HanlinError

if TYPE_CHECKING:
    from hanlin.cli.chat.commands import Chat
    from hanlin.inference.conversation import Talk
    from hanlin.inference.engine import Sampling


@click.command()
@click.argument("model")
@click.option("--prompt", help="Prompt format; default: the one the model was tuned on.")
@click.option("--system", help="System message.")
@click.option(
    "--memory-turns",
    type=click.IntRange(0),
    help="Earlier turns in a prompt, at most; default: all that fit, 3 for CuteGPT's formats.",
)
@decoding_options
@engine_options
@click.option(
    "--encoding",
    type=click.Choice(ENCODINGS),
    default="utf-8",
    show_default=True,
    help="Of a pipe and of --questions.",
)
@click.option(
    "--questions",
    type=click.Path(path_type=Path),
    help="Answer this file: .txt, one question a line, or .jsonl with question or messages.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Answers to --questions, as JSON lines."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Questions of --questions that are answered at once.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    help="Ask a saved conversation again, with the parameters in it.",
)
@force_option
@json_option
def chat(model: str, **options: Any) -> None:  # noqa: ANN401 - one for each option
    """Chat with MODEL: a folder, a .gguf file, a run directory, a hub id or a server's address.

    In a pipe every line is a question and every answer goes to stdout; the lines are one
    conversation, in which a line /reset begins another. In a file of questions each is a
    conversation of its own; the same command goes on where it was interrupted.

    \b
    Examples:
      hanlin chat runs/quickstart
      hanlin chat runs/quickstart --temperature 0.7 --top-p 0.9 --seed 1
      hanlin chat runs/quickstart --num-beams 4
      echo 刘立正出生在哪里？ | hanlin chat runs/quickstart
      hanlin chat runs/quickstart --questions questions.txt --out answers.jsonl
      hanlin chat runs/quickstart --replay talk.json
    """
    _check(options)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack characters
    if options["replay"] is not None:
        _replay(model, options)
        return
    sampling = take_sampling(options)
    if options["questions"] is not None:
        _answer_file(model, sampling, options)
        return
    _converse(model, _new_talk(model, sampling, options), options)


def _check(options: dict[str, Any]) -> None:
    if (options["questions"] is None) != (options["out"] is None):
        given, missing = (
            ("--questions", "--out") if options["questions"] else ("--out", "--questions")
        )
        raise ConfigError(f"{given} needs {missing}", fix=f"{given} FILE {missing} FILE")
    if options["questions"] and options["replay"]:
        raise ConfigError("--questions and --replay cannot both be given", fix="leave one out")


def _new_talk(model: str, sampling: Sampling, options: dict[str, Any]) -> Talk:
    from hanlin.inference.conversation import Talk, prompt_format

    engine = take_engine(model, options)
    return Talk(
        engine, format=prompt_format(engine, name=options["prompt"]), sampling=sampling,
        system=options["system"], memory_turns=options["memory_turns"],
    )  # fmt: skip


def _converse(model: str, talk: Talk, options: dict[str, Any]) -> None:
    """Answer what is typed or piped, until it ends."""
    from hanlin.cli.chat.commands import Chat
    from hanlin.cli.chat.typed import piped_lines, questions, typed_lines

    is_terminal = sys.stdin.isatty()
    chat = Chat(talk)
    turns = []
    for line in questions(typed_lines() if is_terminal else piped_lines(options["encoding"])):
        try:
            answer = _answer(chat, line, may_cancel=is_terminal, show=not options["as_json"])
        except HanlinError as error:
            if not is_terminal:
                raise
            console.error(f"error: {error}")  # what cannot be answered does not end the chat
            continue
        if answer is not None:
            turns.append({"question": line, "answer": answer})
        if chat.is_over:
            break
    if options["as_json"]:
        console.result({"model": model, "turns": turns}, as_json=True, text="")


def _answer(chat: Chat, line: str, *, may_cancel: bool, show: bool) -> str | None:
    """Carry out a command or answer a question; return the answer, if there is one."""
    from hanlin.cli.chat.show import show_answer

    events = chat.obey(line) if line.startswith("/") else chat.talk.events(line)
    if events is None:
        return None
    answer = show_answer(events, may_cancel=may_cancel, show=show)
    forgotten = chat.talk.num_forgotten
    if forgotten and chat.talk.memory_turns is None:
        console.note(f"(the first {forgotten} turns no longer fit into the context)")
    return answer


def _answer_file(model: str, sampling: Sampling, options: dict[str, Any]) -> None:
    from hanlin.cli.chat.questions import answer_file, read_questions

    asked = read_questions(options["questions"], encoding=options["encoding"])
    summary = answer_file(
        lambda: _new_talk(model, sampling, options),
        asked,
        settings={"model": model, **{k: v for k, v in options.items() if k in SETTINGS}},
        out=options["out"],
        batch_size=options["batch_size"],
        force=options["force"],
    )
    text = (
        f"{summary['answered']} of {summary['questions']} questions answered: {options['out']}"
        + (f"; {summary['failed']} could not be" if summary["failed"] else "")
    )
    console.result(summary, as_json=options["as_json"], text=text)


SETTINGS = ("prompt", "system", "backend", "dtype", "tokenizer")  # what answers depend on


def _replay(model: str, options: dict[str, Any]) -> None:
    """Ask a saved conversation again, and tell which answers are the same."""
    from hanlin.inference.conversation import Talk
    from hanlin.inference.saved_talk import read_saved_talk

    saved = read_saved_talk(options["replay"])
    talk = Talk.from_saved(take_engine(model, options), saved)
    turns = [
        {"question": question, "then": then, "now": now} for question, then, now in talk.replay()
    ]
    same = sum(turn["then"] == turn["now"] for turn in turns)
    lines = [
        f"> {turn['question']}\n{turn['now']}"
        + ("" if turn["then"] == turn["now"] else f"\n(then: {turn['then']})")
        for turn in turns
    ]
    console.result(
        {"model": model, "turns": turns, "same": same},
        as_json=options["as_json"],
        text="\n".join([*lines, f"{same} of {len(turns)} answers are the same as then"]),
    )
