"""How is a server asked for JSON? With retries where it is busy, past any proxy on this machine."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

TRIES = 5
FIRST_PAUSE_S = 1.0  # doubled after each try
TIMEOUT_S = 600.0  # a long batch on a busy server
LOCAL = ("127.0.0.1", "localhost", "::1")
WORTH_A_RETRY = (408, 409, 425, 429, 500, 502, 503, 504)
SHOWN = 300  # characters of a server's message
END = b"[DONE]"  # the last event of a stream


class ServerError(Exception):
    """What a server answered instead of JSON, or why it could not be reached.

    Attributes:
        status: of HTTP; None where there was no answer.
    """

    def __init__(self, said: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(said)


class HttpJson:
    """A server that speaks JSON.

    Args:
        address: all addresses begin so.
        key: sent as bearer token; "" for none.
    """

    def __init__(self, address: str, *, key: str = "") -> None:
        self.address = address
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        is_local = urlsplit(address).hostname in LOCAL
        handlers = [urllib.request.ProxyHandler({})] if is_local else []
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return what a path gives; ask once.

        Raises:
            ServerError: it cannot be reached, or answers with an error.
        """
        return self._ask(path, None, tries=1)

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
        """Return the answer to a body; a busy server is asked again.

        Raises:
            ServerError: it cannot be reached, or answers with an error.
        """
        return self._ask(path, json.dumps(body).encode(), tries=TRIES)

    def stream(self, path: str, body: object) -> Generator[Any]:
        """Yield the events of an answer as they come; closing it leaves the server.

        Raises:
            ServerError: it cannot be reached, answers with an error, or breaks off.
        """
        with self._open(path, json.dumps(body).encode(), tries=TRIES) as reply:
            try:
                for line in reply:
                    data = line.removeprefix(b"data:").strip()
                    if data == END:
                        return
                    if line.startswith(b"data:"):
                        yield _event(data)
            except (OSError, HTTPException) as error:
                raise ServerError(f"it broke off its answer: {error}") from error
        raise ServerError("it broke off its answer")

    def _ask(self, path: str, data: bytes | None, *, tries: int) -> Any:  # noqa: ANN401 - JSON
        try:
            with self._open(path, data, tries=tries) as reply:
                return json.loads(reply.read())
        except (OSError, HTTPException) as error:
            raise ServerError(f"it broke off its answer: {error}") from error
        except ValueError as error:
            raise ServerError(f"its answer is no JSON: {error}") from error

    def _open(self, path: str, data: bytes | None, *, tries: int) -> Any:  # noqa: ANN401
        """Return an answer that can be read."""
        request = urllib.request.Request(  # noqa: S310 - http(s), checked by open_engine
            f"{self.address}{path}", data=data, headers=self._headers
        )
        pause = FIRST_PAUSE_S
        for number in range(1, tries + 1):
            try:
                return self._opener.open(request, timeout=TIMEOUT_S)
            except urllib.error.HTTPError as error:
                said = f"HTTP {error.code}: {error.read(SHOWN).decode('utf-8', 'replace')}"
                if error.code not in WORTH_A_RETRY or number == tries:
                    raise ServerError(said, status=error.code) from error
            except (OSError, HTTPException) as error:
                if number == tries:
                    raise ServerError(str(getattr(error, "reason", error))) from error
            time.sleep(pause)
            pause *= 2
        raise AssertionError("unreachable")


def _event(data: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        event = json.loads(data)
    except ValueError as error:
        raise ServerError(f"an event of its stream is no JSON: {error}") from error
    if isinstance(event, dict) and event.get("error"):
        raise ServerError(f"it said: {str(event['error'])[:SHOWN]}")
    return event
