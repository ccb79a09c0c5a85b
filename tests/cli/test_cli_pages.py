"""The commands that stand in sentences and tables are commands that the command line has.

Blocks of code are run, or read, by tests/docs.
"""

import contextlib
import re
from pathlib import Path

import click
import pytest

from command_lines import check_line, code_lines

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
BEGINNINGS = (click.MissingParameter, click.BadOptionUsage, click.exceptions.NoArgsIsHelpError)


def commands_in_sentences(page):
    text = re.sub(r"^ *```.*?^ *```", "", page, flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`(hanlin [a-z][^`]+)`", text)
    return [re.sub(r" N\b", " 1", " ".join(span.split())) for span in spans]


def check(line):
    """Check a command; it may lack words at its end, since a sentence says what comes there."""
    with contextlib.suppress(*BEGINNINGS):
        check_line(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_are_right(page):
    for line in commands_in_sentences(page.read_text(encoding="utf-8")):
        try:
            check(line)
        except click.ClickException as error:
            pytest.fail(f"{page.name}: {line}\n{error.format_message()}")


def test_wrong_ones_are_found():
    found = [line for page in PAGES for line in commands_in_sentences(page.read_text("utf-8"))]
    assert len(found) > 100
    for wrong in ("hanlin run quickstart --no-such-option", "hanlin weights no-such-command"):
        with pytest.raises(click.UsageError):
            check(wrong)


def test_contributors_are_told_of_commands_that_exist():
    for line in code_lines((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        check_line(line)
