"""The command line: exit codes, one JSON document on stdout, help whose examples run."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from command_lines import parse
from hanlin.cli.main import COMMANDS, cli


def hanlin(*arguments: str, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hanlin", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def commands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(words), command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            yield from commands(below, (*words, name))


ALL = dict(commands(cli, ("hanlin",)))


def examples(command: click.Command) -> list[str]:
    _, found, text = (command.help or "").partition("Examples:")
    return [line.strip() for line in text.splitlines() if line.strip()] if found else []


@pytest.mark.parametrize("words", ALL)
def test_every_help_ends_with_examples_that_parse(words):
    lines = examples(ALL[words])
    assert lines, f"{words} --help shows no example"
    for line in lines:
        for part in line.split("|"):
            parse(shlex.split(part, comments=True))


LIGHT = [
    line
    for words in ("hanlin recipe list", "hanlin recipe show", "hanlin recipe check", "hanlin run")
    for line in examples(ALL[words])
    if ">" not in line
]


@pytest.mark.parametrize("line", LIGHT)
def test_light_examples_run(line, tmp_path):
    done = hanlin(*shlex.split(line)[1:], cwd=tmp_path)
    assert done.returncode == 0 and done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
    if "--json" in line:
        json.loads(done.stdout)


def test_help_lists_every_command():
    done = hanlin("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rnu"], 2, "did you mean 'run'?"),
        (["run", "quickstrat"], 4, "did you mean 'quickstart'?"),
        (["run", "quickstart", "--set", "pretrian.x=1"], 2, "did you mean 'pretrain'?"),
        (["run", "quickstart", "--set", "nothing"], 2, "write --set stage.key=value"),
        (["run", "quickstart", "--until", "pretrian"], 2, "did you mean 'pretrain'?"),
        (["run", "quickstart", "--what"], 2, "No such option"),
        (["recipe", "check", "nowhere.yaml"], 4, "there is no recipe"),
    ],
)
def test_mistakes_get_an_answer_and_an_exit_code(arguments, code, message, tmp_path):
    done = hanlin(*arguments, cwd=tmp_path)
    assert done.returncode == code and message in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_key_is_named_with_file_and_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstages:\n  world:\n    stage: sample-world\n    peple: 12\n")
    done = hanlin("recipe", "check", path)
    assert done.returncode == 2
    assert "mine.yaml:5: stages.world.peple: unknown key (did you mean 'people'?)" in done.stderr


def test_a_reference_to_nowhere_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text('name: m\nstages:\n  grow: {model: "@base/model", tokenizer: x}\n')
    done = hanlin("recipe", "check", path)
    assert done.returncode == 2 and "'grow' reads @base/model, which no earlier" in done.stderr


def test_quiet_prints_the_result_only(tmp_path):
    done = hanlin("-q", "run", "quickstart", "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert json.loads(done.stdout)[0]["action"] == "run"


def test_the_schema_covers_every_stage():
    from hanlin.pipeline.stages import STAGES

    done = hanlin("recipe", "schema")
    variants = json.loads(done.stdout)["properties"]["stages"]["additionalProperties"]["anyOf"]
    assert [variant["title"] for variant in variants] == STAGES.names()
