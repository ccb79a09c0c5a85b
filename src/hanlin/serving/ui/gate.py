"""Which of gradio's paths does the page need, and what may a browser do with it? Nothing more.

Gradio serves files, proxies and an API of its own; the page uses none of them.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Below the page's path.
PAGES = {"", "/", "/config", "/theme.css", "/favicon.ico"}
NAMED_BY_CONTENT = "/assets/"
FOLDERS = (NAMED_BY_CONTENT, "/static/", "/gradio_api/heartbeat/")
QUEUE = {f"/gradio_api/{name}" for name in ("queue/join", "queue/data", "reset", "cancel",
                                            "startup-events", "app_id")}  # fmt: skip
# Whatever a model or a report says, the browser asks nobody else for it.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Gate:
    """Stands before the page.

    Args:
        app: the app that the page is on.
        path: where it is.
    """

    def __init__(self, app: ASGIApp, *, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not f"{path}/".startswith(f"{self._path}/"):
            await self._app(scope, receive, send)
            return

        below = path.removeprefix(self._path)

        async def send_shut(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if below.startswith(NAMED_BY_CONTENT) and message["status"] == 200:
                    headers["Cache-Control"] = "private, max-age=31536000, immutable"
            await send(message)

        if is_needed(below):
            await self._app(scope, receive, send_shut)
        else:
            await PlainTextResponse("not found", 404)(scope, receive, send_shut)


def is_needed(path: str) -> bool:
    """Tell whether the page asks for a path."""
    is_plain = ".." not in path and "\\" not in path
    return path in PAGES | QUEUE or (is_plain and path.startswith(FOLDERS))
