"""Every command line in the pages is one that the command line takes."""

from pathlib import Path

import click
import pytest

from command_lines import check_line, commands_in

ROOT = Path(__file__).resolve().parents[2]
NO_COMMANDS = ("cli.md", "architecture.md")  # help texts, checked in test_cli_main.py; a syntax
PAGES = [
    *ROOT.glob("README*.md"),
    *(page for page in sorted(ROOT.glob("docs/*.md")) if page.name not in NO_COMMANDS),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_are_right(page):
    lines = commands_in(page.read_text(encoding="utf-8"))
    for line in lines:
        try:
            check_line(line)
        except click.ClickException as error:
            pytest.fail(f"{page.name}: {line}\n{error.format_message()}")


def test_the_pages_hold_command_lines():
    found = [line for page in PAGES for line in commands_in(page.read_text(encoding="utf-8"))]
    assert len(found) > 50
    with pytest.raises(click.ClickException, match=r"(?i)no such option"):
        check_line("hanlin run quickstart --no-such-option")
