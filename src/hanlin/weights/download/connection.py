"""How is a server asked over HTTP, so that a broken line is tried again and no secret leaks?

The standard library alone: the hub's own client reads `HF_ENDPOINT` once, at its import, and knows
neither other servers nor our digests.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from hanlin import __version__

T = TypeVar("T")

BLOCK_BYTES = 1 << 20
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth another try
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MOST_SECONDS_BETWEEN = 60.0


class DroppedError(Exception):
    """The line broke or the server was busy: worth another try.

    Args:
        reason: what happened, for people.
        wait_s: how long the server wants us to wait, if it said so.
    """

    def __init__(self, reason: str, *, wait_s: float = 0.0) -> None:
        self.wait_s = wait_s
        super().__init__(reason)


class RefusedError(Exception):
    """The server answered, and the answer is no.

    Args:
        status: of HTTP.
        code: the hub's own word for it, "" where there is none.
    """

    def __init__(self, status: int, *, code: str = "") -> None:
        self.status, self.code = status, code
        super().__init__(f"HTTP {status}" + (f" ({code})" if code else ""))


@dataclass(frozen=True)
class Patience:
    """How long to insist.

    Attributes:
        tries: failures in a row, without one new byte, after which to give up.
        wait_s: seconds before the second try; doubled for each one after it.
        timeout_s: seconds of silence after which a line counts as broken.
    """

    tries: int = 6
    wait_s: float = 1.0
    timeout_s: float = 30.0

    def pause(self, failures: int, error: DroppedError) -> float:
        """Return the seconds to wait after so many failures in a row."""
        return min(max(self.wait_s * 2 ** (failures - 1), error.wait_s), MOST_SECONDS_BETWEEN)


@dataclass(frozen=True)
class Connection:
    """A server, and what it is told to know us by.

    Attributes:
        origin: the address that gets the secret; no other does, not even after a redirect.
        secret: headers such as `Authorization`; sent over https or to this machine only.
        token_variable: environment variable that holds the token, "" where none is of use.
        patience: how long to insist.
    """

    origin: str
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)
    token_variable: str = ""
    patience: Patience = Patience()

    def open(self, url: str, *, offset: int = 0, method: str = "GET") -> http.client.HTTPResponse:
        """Ask once, for the bytes from `offset` on.

        Raises:
            DroppedError: no connection, silence, or a busy server.
            RefusedError: any other answer than a good one.
        """
        headers = {"User-Agent": f"hanlin/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - checked
        if _scheme(url) not in ("http", "https"):
            raise RefusedError(0, code=f"no address of a web server: {url}")
        for name, value in self._secret_for(url).items():
            request.add_unredirected_header(name, value)
        opener = urllib.request.build_opener(_Redirects(self._secret_for))
        try:
            response: http.client.HTTPResponse = opener.open(
                request, timeout=self.patience.timeout_s
            )
        except urllib.error.HTTPError as error:
            raise _answer(error) from error
        except (OSError, http.client.HTTPException) as error:
            raise DroppedError(_reason(error)) from error
        return response

    def head(self, url: str) -> Mapping[str, str]:
        """Return the headers of a file, names in lower case, as the first server has them.

        Raises:
            DroppedError: the server could not be asked, however often.
            RefusedError: it has no such file.
        """
        return self.insist(lambda: self._head(url))

    def read(self, url: str) -> bytes:
        """Return a small document.

        Raises:
            DroppedError: the server could not be asked, however often.
            RefusedError: it has no such document.
        """

        def ask() -> bytes:
            with self.open(url) as response:
                return b"".join(blocks(response))

        return self.insist(ask)

    def read_json(self, url: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return a JSON document, None for what is none.

        Raises:
            DroppedError: the server could not be asked, however often.
            RefusedError: it has no such document.
        """
        try:
            return json.loads(self.read(url))
        except ValueError:
            return None

    def insist(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, at most three times: somebody may be waiting.

        Raises:
            DroppedError: of the last try.
            RefusedError: of the first answer.
        """
        failures = 0
        while True:
            try:
                return ask()
            except DroppedError as error:
                failures += 1
                if failures >= min(3, self.patience.tries):
                    raise
                time.sleep(self.patience.pause(failures, error))

    def _head(self, url: str) -> Mapping[str, str]:
        try:
            with self.open(url, method="HEAD") as response:
                headers = response.headers
        except _ElsewhereError as redirect:  # it has said all we need
            headers = redirect.headers
        return {name.lower(): value for name, value in headers.items()}

    @property
    def is_private(self) -> bool:
        """Tell whether nobody on the way can read what is sent to the origin."""
        place = urlsplit(self.origin)
        return place.scheme == "https" or place.hostname in LOOPBACK

    def _secret_for(self, url: str) -> Mapping[str, str]:
        return self.secret if self.is_private and _origin(url) == _origin(self.origin) else {}


def blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the body of an answer.

    Raises:
        DroppedError: the line broke, or the body is shorter than the server said.
    """
    announced = response.headers.get("Content-Length", "")
    missing = int(announced) if announced.isdecimal() else 0
    try:
        while block := response.read(BLOCK_BYTES):
            missing -= len(block)
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise DroppedError(_reason(error)) from error
    if missing > 0:
        raise DroppedError("the server closed the line in the middle")


class _ElsewhereError(Exception):
    """A HEAD request was sent to another server, as the hub does for large files."""

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.headers = headers
        super().__init__()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, with the secret only where it belongs."""

    def __init__(self, secret_for: Callable[[str], Mapping[str, str]]) -> None:
        self.secret_for = secret_for

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: http.client.HTTPMessage, newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        """Return the request to make next."""
        if _scheme(newurl) not in ("http", "https"):
            raise RefusedError(code, code=f"sent on to {newurl}")
        if req.get_method() == "HEAD" and _origin(newurl) != _origin(req.full_url):
            raise _ElsewhereError(headers)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.method = req.get_method()
            for name, value in self.secret_for(newurl).items():
                following.add_unredirected_header(name, value)
        return following


def _answer(error: urllib.error.HTTPError) -> DroppedError | RefusedError:
    if error.code in BUSY:
        asked = error.headers.get("Retry-After", "")
        wait_s = float(asked) if asked.isdecimal() else 0.0
        return DroppedError(f"HTTP {error.code} {error.reason}", wait_s=wait_s)
    return RefusedError(error.code, code=error.headers.get("X-Error-Code", ""))


def _reason(error: Exception) -> str:
    """Say in one line what broke; never with the request in it."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "the server was silent for too long"
    if isinstance(cause, http.client.HTTPException):
        return "the server closed the line in the middle"
    return str(getattr(cause, "strerror", None) or cause)


def _scheme(url: str) -> str:
    return urlsplit(url).scheme


def _origin(url: str) -> tuple[str, str | None, int | None]:
    place = urlsplit(url)
    return place.scheme, place.hostname, place.port
