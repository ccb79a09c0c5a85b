"""Who may ask, and how much at once? Stands around the whole app, the web page included.

In order: the Host must be this server's, a page of another server must be allowed, a key must fit,
the body must be short enough and arrive in time. Then the app runs, and a line is logged, without
content.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import logging
import secrets
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanlin.serving.errors import CLIENT_LEFT, ApiError, from_exception
from hanlin.serving.settings import LOOPBACK_NAMES, Settings

access_log = logging.getLogger("hanlin.serving.access")
Report = Callable[[str, int, float], None]
LONGEST_NUMBER = 20  # digits of a Content-Length
UNROUTED = "other"  # path of a request that no route takes: its own could hold anything


class Guard:
    """Lets through what may pass; every other request gets one JSON error.

    Args:
        app: what is guarded.
        settings: the limits.
        report: told (path, status, seconds) of every request.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, report: Report) -> None:
        self._app, self._settings, self._report = app, settings, report
        self._hosts = _known_hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks over web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        reply = _Reply(send)
        started = time.perf_counter()
        try:
            check_request(Headers(scope=scope), self._settings, self._hosts)
            body = await self._body(scope, receive)
            await self._app(scope, _replay(body, receive), reply)
        except _GoneError:
            pass
        except Exception as error:
            await reply.fail(scope, from_exception(error))
        finally:
            self._log(scope, reply, time.perf_counter() - started)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                return await self._read(scope, receive)
        except TimeoutError:
            raise ApiError(408, "the request did not arrive in time") from None

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._settings.max_body_bytes
        refusal = ApiError(
            413, f"the request is longer than {limit} bytes", headers={"Connection": "close"}
        )
        length = Headers(scope=scope).get("content-length", "0")
        is_number = length.isascii() and length.isdigit() and len(length) <= LONGEST_NUMBER
        if not is_number or int(length) > limit:
            raise refusal
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise refusal
            if not message.get("more_body", False):
                return b"".join(parts)

    def _log(self, scope: Scope, reply: _Reply, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", UNROUTED)
        status = reply.status or CLIENT_LEFT
        self._report(path, status, seconds)
        fields = {
            "request": reply.id, "method": scope["method"], "path": path, "status": status,
            "seconds": round(seconds, 4), **scope.get("state", {}).get("counts", {}),
        }  # fmt: skip
        access_log.info("request", extra={"fields": fields})


class _GoneError(Exception):
    """The client left before its request was complete."""


class _Reply:
    """Remembers what was sent and adds what every reply has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0  # nothing was sent
        self.id = secrets.token_hex(8)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def fail(self, scope: Scope, error: ApiError) -> None:
        """Send an error, if nothing was sent yet."""
        if not self.status:
            response = error.response()
            await response(scope, _nothing, self)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, then what the client does."""
    is_given = False

    async def replayed() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def check_request(headers: Headers, settings: Settings, hosts: frozenset[str]) -> None:
    """Refuse a request that names another server, comes from another page, or has no key.

    The first keeps out pages that let their own name point here (DNS rebinding).

    Raises:
        ApiError: it is refused.
    """
    host = _host_name(headers.get("host", ""))
    is_address = settings.is_open_to_others and _is_address(host)  # no page can forge one
    if host not in hosts and not is_address:
        raise ApiError(
            403, "this server does not know the name it was asked by; --allow-host adds one"
        )
    origin = headers.get("origin")
    is_own = origin is None or urlsplit(origin).netloc == headers.get("host")
    if not is_own and origin not in settings.origins:
        raise ApiError(403, "pages of other servers may not ask; --cors-origin allows one")
    if settings.keys and not _has_key(headers.get("authorization", ""), settings.keys):
        raise ApiError(
            401,
            "an API key is needed: send the header 'Authorization: Bearer KEY'",
            code="invalid_api_key",
            headers={"WWW-Authenticate": 'Basic realm="hanlin", charset="UTF-8"'},
        )


def _has_key(authorization: str, keys: tuple[str, ...]) -> bool:
    """Tell whether a key fits; how long that takes says nothing about the keys."""
    scheme, _, given = authorization.partition(" ")
    offered = b""
    if scheme.lower() == "bearer":
        offered = given.strip().encode("latin-1")  # the bytes that came
    elif scheme.lower() == "basic":  # what a browser asks its user for: any name, the key
        offered = _password(given)
    return bool(sum([hmac.compare_digest(offered, key.encode()) for key in keys]))


def _password(encoded: str) -> bytes:
    try:
        pair = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return pair.partition(b":")[2]


def _known_hosts(settings: Settings) -> frozenset[str]:
    names = {*LOOPBACK_NAMES, settings.host, *settings.hosts}
    if settings.is_open_to_others:
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def _host_name(host: str) -> str:
    """Return a Host header's name without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
