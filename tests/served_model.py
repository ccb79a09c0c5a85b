"""A real `hanlin serve` in a process of its own, and servers in this process for odd limits."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

from hanlin.inference.conversation import prompt_format
from hanlin.inference.scheduler import Scheduler
from hanlin.serving.app import build_app, guarded
from hanlin.serving.metrics import Metrics
from hanlin.serving.run import listen, new_server, url_of
from hanlin.serving.service import Service
from hanlin.serving.settings import Settings

START_SECONDS = 120


class Process:
    """`hanlin serve MODEL --port 0 --json ...`; `address` is what it printed."""

    def __init__(self, model, *options, environment=None):
        command = [sys.executable, "-m", "hanlin", "serve", str(model), "--port", "0", "--json"]
        self.process = subprocess.Popen(
            [*command, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )  # fmt: skip
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.process.kill()
            raise RuntimeError(self.process.communicate()[1].decode())
        self.said = json.loads(line)
        self.address = self.said["address"]

    def stop(self, number=signal.SIGTERM):
        """Send a signal; return exit code, the rest of stdout, and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()

    def close(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


@contextmanager
def server_of(engine, *, schemas=None, **limits):
    """Serve an engine on a free port from a thread of this process; give the address."""
    settings = Settings(**limits)
    scheduler = Scheduler(engine, max_running=settings.max_running)
    service = Service(
        engine, scheduler=scheduler, format=prompt_format(engine), name="tiny",
        settings=settings, metrics=Metrics(),
    )  # fmt: skip
    app = guarded(build_app(service, schemas=schemas or {}), service)
    is_ready = threading.Event()
    listening = listen("127.0.0.1", 0)
    server = new_server(app, service, when_ready=is_ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    assert is_ready.wait(START_SECONDS)
    try:
        yield url_of(listening)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
