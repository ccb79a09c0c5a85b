"""How is a server asked for JSON? With retries where it is busy, past any proxy on this machine."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

TRIES = 5
FIRST_PAUSE_S = 1.0  # doubled after each try
TIMEOUT_S = 600.0  # a long batch on a busy server
LOCAL = ("127.0.0.1", "localhost", "::1")
WORTH_A_RETRY = (408, 409, 425, 429, 500, 502, 503, 504)
SHOWN = 300  # characters of a server's message


class ServerError(Exception):
    """What a server answered instead of JSON, or why it could not be reached."""


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

    def _ask(self, path: str, data: bytes | None, *, tries: int) -> Any:  # noqa: ANN401 - JSON
        pause = FIRST_PAUSE_S
        for number in range(1, tries + 1):
            try:
                return self._ask_once(path, data)
            except urllib.error.HTTPError as error:
                said = f"HTTP {error.code}: {error.read(SHOWN).decode('utf-8', 'replace')}"
                if error.code not in WORTH_A_RETRY or number == tries:
                    raise ServerError(said) from error
            except (OSError, HTTPException) as error:
                if number == tries:
                    raise ServerError(str(getattr(error, "reason", error))) from error
            except ValueError as error:
                raise ServerError(f"its answer is no JSON: {error}") from error
            time.sleep(pause)
            pause *= 2
        raise AssertionError("unreachable")

    def _ask_once(self, path: str, data: bytes | None) -> Any:  # noqa: ANN401 - JSON
        request = urllib.request.Request(  # noqa: S310 - http(s), checked by open_engine
            f"{self.address}{path}", data=data, headers=self._headers
        )
        with self._opener.open(request, timeout=TIMEOUT_S) as reply:
            return json.loads(reply.read())
