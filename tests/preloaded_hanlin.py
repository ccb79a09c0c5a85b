"""How can a hundred `hanlin` commands run in a minute? torch and transformers are imported once.

`python preloaded_hanlin.py serve SOCKET` imports them and waits; `... ask SOCKET WORDS` asks it to
run one command: a child is forked that gets the asking process' folder, environment, input and
outputs, and then is what `hanlin WORDS` would be some seconds later. Signals are passed on.
"""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys

SLOW = (
    "torch", "transformers.models.llama.modeling_llama", "transformers.trainer", "peft",
    "bitsandbytes", "sentencepiece", "matplotlib.pyplot", "gradio", "hanlin.cli.main",
)  # fmt: skip


def serve(path: str) -> None:
    """Wait for commands until killed."""
    _import_what_is_slow()
    gc.freeze()  # children share these pages: the collector shall not write into them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path + ".new")
    listening.listen(16)
    os.rename(path + ".new", path)  # noqa: PTH104 - it is there when it can be asked
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _answer(connection)
        connection.close()


def ask(path: str, words: list[str]) -> int:
    """Have a command run, and return its exit code."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    place = {"folder": os.path.realpath("."), "environment": dict(os.environ)}
    data = json.dumps({"words": words, **place}).encode()
    files = array.array("i", [0, 1, 2])
    connection.sendmsg([len(data).to_bytes(4, "big")],
                       [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])  # fmt: skip
    connection.sendall(data)
    pid = int.from_bytes(_exactly(connection, 4), "big")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    return int.from_bytes(_exactly(connection, 4), "big")


def _import_what_is_slow() -> None:
    os.environ["MPLBACKEND"] = "agg"
    for name in SLOW:
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)
    from hanlin.pipeline.stages import STAGES

    for kind in STAGES:
        STAGES.get(kind)


def _answer(connection: socket.socket) -> None:
    """Fork the command, wait for it, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    request = json.loads(_exactly(connection, int.from_bytes(size, "big")))
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(request, files)
    for file in files:
        os.close(file)
    connection.sendall(pid.to_bytes(4, "big"))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        connection.sendall((code if code >= 0 else 128 - code).to_bytes(4, "big"))
    os._exit(0)


def _become(request: dict, files: list[int]) -> None:
    """Run the command in this process, which ends with it.

    Modules are not taken apart at the end: of all that is imported here, that takes a second.
    """
    from hanlin.cli.main import run_command

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", closefd=False)
    sys.argv = ["hanlin", *request["words"]]
    code = run_command(request["words"])
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        got = connection.recv(size - len(data))
        if not got:
            raise SystemExit("the process that runs commands is gone")
        data += got
    return data


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(ask(sys.argv[2], sys.argv[3:]))
