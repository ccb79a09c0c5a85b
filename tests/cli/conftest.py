"""What tests of commands share."""

import pytest

from hanlin.cli.main import run_command


@pytest.fixture
def hanlin(capsys):
    """Run a command of `hanlin eval`; return exit code, stdout and stderr."""

    def run(*arguments):
        code = run_command(["eval", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
