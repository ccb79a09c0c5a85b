"""Which command lines stand in help texts and pages, and would the command line take them?"""

import re
import shlex
from collections.abc import Iterator

import click

from hanlin.cli.main import cli

FENCE = re.compile(r"^ *```")


def code_lines(page: str) -> Iterator[str]:
    """Yield the lines of code in a Markdown page, fenced or indented; continued ones as one."""
    is_fenced, held = False, ""
    for line in page.splitlines():
        if FENCE.match(line):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            held += line.strip().removeprefix("$ ")
            if held.endswith("\\"):
                held = held[:-1]
                continue
            yield held
            held = ""


def check_line(line: str) -> None:
    """Check each command of a shell line against the options and arguments that it has.

    Raises:
        click.ClickException: an option or argument is wrong.
    """
    for part in re.split(r"\|\|?|&&|;", line):
        words = shlex.split(part, comments=True)
        while words and re.match(r"^[A-Z_]+=", words[0]):
            words = words[1:]
        if words and words[0] == "hanlin":
            parse(words)


def parse(words: list[str]) -> None:
    """Check one example against the options and arguments that its command has."""
    if ">" in words:
        words = words[: words.index(">")]
    if not words or words[0] != "hanlin":
        assert words[0] in ("echo", "cat", "jq"), words
        return
    command, context, rest = cli, click.Context(cli), words[1:]
    while isinstance(command, click.Group) and rest:
        below = command.get_command(context, rest[0])
        if below is None:
            takes_no_other = type(command).parse_args is click.Group.parse_args  # `report RUN` does
            if takes_no_other and not rest[0].startswith("-"):
                command.resolve_command(context, rest)  # raises: no such command
            break
        command, rest = below, rest[1:]
    made = command.make_context(words[0], rest, parent=context)
    assert made is not None
