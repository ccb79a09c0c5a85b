"""How does the server begin, listen and end?"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from hanlin.core.errors import ConfigError, ResourceError
from hanlin.serving.errors import ApiError
from hanlin.serving.service import Service

MAX_HEADER_BYTES = 32 * 1024
SECONDS_KEPT_ALIVE = 15


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound; port 0 takes a free one.

    Raises:
        ResourceError: the port is in use, or may not be used.
        ConfigError: the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"{host!r} is no address that can be listened on",
            why=str(error),
            fix="give --host 127.0.0.1, or an address of this machine",
        ) from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen()
    except OSError as error:
        found.close()
        raise ResourceError(
            f"port {port} of {host} cannot be listened on",
            why=error.strerror or str(error),
            fix="stop the program that uses it, or give another: --port 0 takes a free one",
        ) from error
    return found


def url_of(listening: socket.socket) -> str:
    """Return the address that clients use."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def new_server(app: ASGIApp, service: Service, *, when_ready: Callable[[], None]) -> uvicorn.Server:
    """Return a server; its `run(sockets=[...])` ends at SIGTERM or Ctrl-C, or by `should_exit`.

    Answers that run then may go on for the time that the settings give.
    """
    config = uvicorn.Config(
        app,
        http=JsonH11,
        ws="none",
        loop="asyncio",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=SECONDS_KEPT_ALIVE,
        timeout_graceful_shutdown=round(service.settings.shutdown_s),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    return _Server(config, service, when_ready)


class _Server(uvicorn.Server):
    """Ends with exit code 0 when it is told to stop."""

    def __init__(
        self, config: uvicorn.Config, service: Service, when_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._service, self._when_ready = service, when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when requests are taken."""
        await super().startup(sockets)
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests and let those that run end."""
        self._service.is_closing = True
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, and do not raise it again afterwards as uvicorn does."""
        if threading.current_thread() is not threading.main_thread():
            yield  # others take no signals
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class JsonH11(H11Protocol):
    """HTTP whose answer to what is no HTTP is JSON as well."""

    def send_400_response(self, msg: str) -> None:
        """Send the error and close the connection."""
        body = json.dumps(ApiError(400, msg).body).encode()
        headers = [
            ("content-type", "application/json"), ("content-length", str(len(body))),
            ("connection", "close"),
        ]  # fmt: skip
        reply = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (reply, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def log_requests() -> None:
    """Write a JSON line for each request to stderr: never a text that was asked or answered."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    log = logging.getLogger("hanlin.serving.access")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = getattr(record, "fields", {})
        return json.dumps({"time": when, **fields}, ensure_ascii=False)
