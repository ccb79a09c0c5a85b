"""How is another program's server started, watched and stopped?

with ServerProcess(["vllm", "serve", ...], ready="http://127.0.0.1:8000/health") as process:
    process.wait_ready(timeout_s=600)
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Sequence
from pathlib import Path

from hanlin.core.closing import Closing
from hanlin.core.errors import MissingExtraError, ResourceError

LOG_LINES = 12  # of a dead server that are shown
PAUSE_S = 0.2
GRACE_S = 10.0  # for stopping by itself


class ServerProcess(Closing):
    """A running server; it is stopped with this program.

    Args:
        command: the program and its arguments.
        ready: an address that answers with 200 when the server is ready.

    Attributes:
        command_line: to be shown, or pasted into a shell.
        log: the file with what it says.
        pid: of the process; its children are in its group.

    Raises:
        MissingExtraError: there is no such program.
    """

    def __init__(self, command: Sequence[str], *, ready: str) -> None:
        self.command_line = shlex.join(command)
        self._ready = ready
        handle, name = tempfile.mkstemp(prefix="hanlin-server-", suffix=".log")
        self.log = Path(name)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own server
                list(command), stdin=subprocess.DEVNULL, stdout=handle, stderr=handle,
                start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            self.log.unlink()
            raise MissingExtraError(
                f"{command[0]} was not found",
                why=f"it is started as a process of its own: {self.command_line}",
                fix="install it (for vLLM: pip install vllm), or name it in HANLIN_VLLM",
            ) from error
        finally:
            os.close(handle)
        self.pid = self._process.pid
        self._stop = weakref.finalize(self, _stop, self._process, self.log)

    @property
    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def has_died(self, *, within_s: float) -> bool:
        """Tell whether it ends in a moment: a connection may break before the process is gone."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_ready(self, *, timeout_s: float) -> None:
        """Wait until it answers.

        Raises:
            ResourceError: it ended, or was not ready in time (it is stopped then).
        """
        end = time.monotonic() + timeout_s
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while self.is_alive:
            try:
                with opener.open(self._ready, timeout=PAUSE_S * 10):
                    return
            except (OSError, urllib.error.URLError):
                if time.monotonic() > end:
                    said = self.last_lines()
                    self.close()
                    raise ResourceError(
                        f"the server was not ready after {timeout_s:g} s",
                        why=f"{self.command_line}\n{said}",
                        fix="give it more time, or a smaller model",
                    ) from None
            time.sleep(PAUSE_S)
        raise self.why_dead()

    def why_dead(self) -> ResourceError:
        """Return what to tell of a server that ended by itself."""
        code = self._process.wait()
        how = f"by the signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return ResourceError(
            f"the server ended {how}",
            why=f"{self.command_line}\n{self.last_lines()}",
            fix="mend what its last lines say, then start it again",
        )

    def last_lines(self) -> str:
        """Return the end of what it said."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-LOG_LINES:])

    def close(self) -> None:
        """Stop it and its children, and remove the log."""
        self._stop()


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _stop(process: subprocess.Popen[bytes], log: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)  # its session: workers of tensor parallelism too
            process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    process.wait()
    log.unlink(missing_ok=True)
