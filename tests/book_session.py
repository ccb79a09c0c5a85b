"""Does what a page of the book shows work? Its blocks are run in order, in a folder of their own.

Blocks of `bash`, `sh` and `shell` run as they stand. `hanlin serve` is kept running to the end of
the page, on a free port; what later blocks ask of port 8090 goes there. `hanlin doctor` may find
fault with the machine. `python` is executed, all blocks of a page in one namespace. `yaml` is read
by what it is for, and written to the file that its first line names. `json` is parsed. `text` is
the output of the block before: its lines must be there, in this order, with any numbers; `...` is
left out.
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from book_blocks import Block
from command_lines import check_line, code_lines
from hanlin.core.config import parse_yaml, validate
from hanlin.extraction.knowledge.plan import parse_plan
from hanlin.extraction.schema import parse_schemas
from hanlin.pipeline.recipe import load_recipe
from hanlin.pipeline.stages import STAGES

SHELL = ("bash", "sh", "shell")
SECONDS = 600  # a guard: nothing here takes a tenth of it
SERVES = re.compile(r"^hanlin serve \S")
DEFAULT_ADDRESS = "http://127.0.0.1:8090"
NUMBER = re.compile(r"[-+]?\d[\d,.]*(e[-+]?\d+)?")


class Commands:
    """A folder with a `hanlin` to be put on PATH, which answers at once (preloaded_hanlin.py)."""

    def __init__(self, folder: Path) -> None:
        script, address = Path(__file__).with_name("preloaded_hanlin.py"), folder / "socket"
        self.bin = folder / "bin"
        self.bin.mkdir()
        command = self.bin / "hanlin"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {script} ask {address} "$@"\n')
        command.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(folder), "NO_COLOR": "1",
            "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "200",
            "HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        self.server = subprocess.Popen([sys.executable, script, "serve", address],
                                       env=self.environment, start_new_session=True)  # fmt: skip
        wait_for(address.exists, self.server)

    def close(self) -> None:
        """End it and whatever it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def shell(self, text: str, folder: Path) -> str:
        """Run lines in bash and return what they print; fail with it where one of them fails."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=SECONDS,
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"exit code {done.returncode}:\n{text}\n\n{done.stdout[-4000:]}")
        return done.stdout


class Session:
    """A page that is being run."""

    def __init__(self, commands: Commands, folder: Path) -> None:
        self.commands, self.folder = commands, folder
        self.namespace: dict[str, object] = {"__name__": "__main__"}
        self.output = ""
        self.servers: list[subprocess.Popen[str]] = []
        self.address = DEFAULT_ADDRESS

    def run(self, block: Block) -> None:
        """Run, read or compare one block; a block that says why not is looked at only."""
        if block.remark == "not run":
            check_unrun(block)
        elif block.language in SHELL:
            printed = "".join(map(self._shell, pieces(block.text)))
            self.output = printed.replace(f"{self.folder}/", "")
        elif block.remark == "a plan":
            parse_plan(block.text)
            self._write(block.text)
        elif block.language == "python":
            self._python(block)
        elif block.language == "yaml":
            self._write(block.text)
            check_yaml(block, self.folder)
        elif block.language == "json":
            assert json_values(block.text)
        elif block.language == "text" and block.remark != "not compared":
            compare(block, self.output)
        elif block.language != "text":
            pytest.fail(f"{block.place}: {block.language!r} has neither run nor a reason")

    def close(self) -> None:
        """End the servers as Ctrl-C does; each must end well."""
        codes = []
        for server in self.servers:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=SECONDS)
            codes.append(server.returncode)
        assert not any(codes), f"exit codes of servers: {codes}"

    def _shell(self, piece: str) -> str:
        if SERVES.match(piece):
            return self._serve(piece)
        piece = re.sub("^hanlin doctor$", "hanlin doctor || test $? = 5", piece, flags=re.MULTILINE)
        return self.commands.shell(piece.replace(DEFAULT_ADDRESS, self.address), self.folder)

    def _serve(self, line: str) -> str:
        command = line.partition(" #")[0].rstrip()
        command += "" if "--port" in command else " --port 0"
        log = self.folder / f"server-{len(self.servers)}.log"
        with log.open("w") as errors:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, stdin=subprocess.DEVNULL,
                env=self.commands.environment, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        self.servers.append(server)
        printed = ""
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", printed)):
            said = server.stdout.readline()
            assert said, f"{command}\n{printed}{log.read_text()}"
            printed += said
        self.address = found[0]
        for path in ("/is_ready", *(["/ui/"] if "--ui" in command else [])):
            with urllib.request.urlopen(self.address + path, timeout=SECONDS) as reply:
                assert reply.status == 200 and reply.read()
        return printed

    def _python(self, block: Block) -> None:
        text = block.text.replace(DEFAULT_ADDRESS, self.address)
        printed = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed):
            exec(compile(text, block.place, "exec"), self.namespace)
        self.output = printed.getvalue()

    def _write(self, text: str) -> None:
        if named := re.match(r"# ([\w.-]+\.(ya?ml|py))\b", text):
            (self.folder / named[1]).write_text(text + "\n", encoding="utf-8")


def wait_for(is_there, process: subprocess.Popen) -> None:
    """Wait until a condition holds; fail where the process ends before."""
    end = time.monotonic() + SECONDS
    while not is_there():
        assert process.poll() is None and time.monotonic() < end, "it did not start"
        time.sleep(0.05)


def pieces(text: str) -> list[str]:
    """Cut a block before and behind each line that starts a server."""
    found, held = [], []
    for line in text.splitlines():
        if SERVES.match(line):
            found += ["\n".join(held), line]
            held = []
        else:
            held.append(line)
    return [piece for piece in [*found, "\n".join(held)] if piece.strip()]


def check_unrun(block: Block) -> None:
    """Check what can be checked of a block that does not run: a reason, options, a syntax."""
    assert len(block.detail) > 5, f"{block.place}: say why it is not run"
    if block.language in SHELL:
        for line in code_lines(f"```\n{block.text}\n```"):
            check_line(line)
        bash = shutil.which("bash")
        subprocess.run([bash, "-n", "-c", block.text], check=True)
    elif block.language == "python":
        compile(block.text, block.place, "exec")


def check_yaml(block: Block, folder: Path) -> None:
    """Read a block of YAML as that for which the remark above it says it is."""
    if block.remark == "a recipe":
        file = folder / "recipe-of-the-page.yaml"
        file.write_text(block.text, encoding="utf-8")
        assert load_recipe(file).stages
    elif block.remark == "a schema":
        assert parse_schemas(block.text)
    elif block.remark == "config of":
        values, source = parse_yaml(block.text, folder / "page.yaml")
        config = STAGES.get(block.detail).config
        needed = {name: "base" for name, field in config.model_fields.items()
                  if field.is_required() and name in ("model", "store")}  # fmt: skip
        validate(config, needed | values, source=source)  # what is left out stands on the line
    else:
        pytest.fail(f"{block.place}: say above it what it is: <!-- config of STAGE -->, ...")


def json_values(text: str) -> list[object]:
    """Return the JSON values of a block, each on a line or on several.

    Raises:
        ValueError: something is not JSON.
    """
    values, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


def compare(block: Block, output: str) -> None:
    """Look for the lines of a block in the output of the block before it."""
    is_exact = block.remark == "compared to the letter"
    lines = iter([loose(line, is_exact=is_exact) for line in output.splitlines()])
    wanted = [line for line in block.text.splitlines() if line.strip() not in ("", "...")]
    for line in wanted:
        if loose(line, is_exact=is_exact) not in lines:
            pytest.fail(f"{block.place}: not printed (here or behind the line before): {line!r}\n"
                        f"printed was:\n{output[-6000:]}")  # fmt: skip


def loose(line: str, *, is_exact: bool) -> str:
    """Return a line without what differs from run to run: numbers, the widths of columns."""
    line = line if is_exact else NUMBER.sub("0", line)
    return re.sub(r"-{3,}", "---", " ".join(line.split()))
