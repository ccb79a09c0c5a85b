"""How does an answer reach a client while it comes, and how is it noticed that the client left?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from hanlin.serving.errors import CLIENT_LEFT, ApiError, from_exception

T = TypeVar("T")
Chunk = Mapping[str, Any]
DONE = b"data: [DONE]\n\n"


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what some work gives; stop it as soon as the client leaves.

    Raises:
        ApiError: the client left.
    """
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_wait_until_gone(request.receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        await _stop(task, watch)
    raise ApiError(CLIENT_LEFT, "the client left")


async def open_stream(
    request: Request, chunks: AsyncGenerator[Chunk], *, send_timeout_s: float
) -> EventStream:
    """Return a stream once its first chunk is there: what fails before has a status of its own.

    Raises:
        ApiError: the client left, or whatever the chunks raise.
    """
    first = await unless_gone(request, _first(chunks))
    return EventStream(first, chunks, send_timeout_s=send_timeout_s)


async def _first(chunks: AsyncGenerator[Chunk]) -> Chunk:
    return await anext(chunks)


class EventStream(Response):
    """Server-sent events with one JSON value each, then `[DONE]`.

    Args:
        first: the first value.
        rest: the others; closed in any case, so that nothing goes on when the client leaves.
        send_timeout_s: a client that reads nothing for so long is given up.
    """

    media_type = "text/event-stream"

    def __init__(self, first: Chunk, rest: AsyncGenerator[Chunk], *, send_timeout_s: float) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._first, self._rest, self._send_timeout_s = first, rest, send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it, or stop when the client leaves."""
        task = asyncio.create_task(self._send_all(send))
        watch = asyncio.create_task(_wait_until_gone(receive))
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            await _stop(task, watch)
            await self._rest.aclose()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for event in self._events():
            message = {"type": "http.response.body", "body": event, "more_body": True}
            async with asyncio.timeout(self._send_timeout_s):  # wait_for of 3.11 can lose a cancel
                await send(message)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncGenerator[bytes]:
        yield encode_event(self._first)
        try:
            async for chunk in self._rest:
                yield encode_event(chunk)
        except Exception as error:
            yield encode_event(from_exception(error).body)
        yield DONE


def encode_event(value: Chunk) -> bytes:
    """Return one event."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
