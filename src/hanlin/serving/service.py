"""How do many requests share one model? By a bounded queue, and a turn for each answer.

Nothing goes on that nobody waits for:

    async with service.answers(asks) as answers:
        async for index, event in answers:
            ...
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hanlin.inference.engine import Engine, Generation, Sampling, StreamEvent
from hanlin.inference.scheduler import Scheduler, Ticket
from hanlin.prompts.format import PromptFormat
from hanlin.serving.errors import ApiError
from hanlin.serving.metrics import Metrics
from hanlin.serving.settings import Settings

Part = tuple[int, StreamEvent]
Arrived = asyncio.Queue[Part | Exception]


@dataclass(frozen=True)
class Ask:
    """One answer that is wanted."""

    prompt: Sequence[int]
    sampling: Sampling


class Service:
    """A model and who may use it when; lives in one event loop.

    Args:
        engine: the model.
        scheduler: runs it, perhaps for others as well.
        format: the model's prompt format.
        name: what clients call the model.
        settings: the limits.
        metrics: where it counts.

    Attributes:
        created: when the service began, in seconds since 1970.
        running: answers that have their turn.
        waiting: answers that wait for it.
        slots: answers that can have their turn at once.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        scheduler: Scheduler,
        format: PromptFormat,
        name: str,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.engine, self.format, self.name = engine, format, name
        self.settings, self.metrics = settings, metrics
        self.created = int(time.time())
        self.running = self.waiting = 0
        self.is_closing = False
        self._scheduler = scheduler
        self.slots = scheduler.num_slots
        self._turns = asyncio.Semaphore(self.slots)
        self._threads = ThreadPoolExecutor(self.slots, thread_name_prefix="answer")

    def close(self) -> None:
        """Give up all answers and take no more."""
        self.is_closing = True
        self._scheduler.close()
        self._threads.shutdown()

    @asynccontextmanager
    async def answers(self, asks: Sequence[Ask]) -> AsyncIterator[AsyncGenerator[Part]]:
        """Answer: gives (index of the ask, event) as they come; leaving gives up what is open.

        Raises:
            ApiError: the queue is full, the server is being stopped, or it takes too long.
            HanlinError: from the iterator: one of the answers failed; the others are given up.
        """
        self._admit(len(asks))
        arrived: Arrived = asyncio.Queue()
        places = [_Place(self) for _ in asks]
        tasks = [
            asyncio.create_task(self._answer(index, ask, places[index], arrived))
            for index, ask in enumerate(asks)
        ]
        try:
            yield _until_all_ended(arrived, len(asks), timeout_s=self.settings.timeout_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for place in places:
                place.leave()

    async def generations(self, asks: Sequence[Ask]) -> list[Generation]:
        """Return the finished answers.

        Raises:
            ApiError: as `answers`.
            HanlinError: as `answers`.
        """
        found: dict[int, Generation] = {}
        async with self.answers(asks) as answers:
            async for index, event in answers:
                if event.generation is not None:
                    found[index] = event.generation
        return [found[index] for index in range(len(asks))]

    def count(self) -> None:
        """Show Prometheus how many run and wait."""
        self.metrics.running.set(self.running)
        self.metrics.waiting.set(self.waiting)

    def _admit(self, count: int) -> None:
        if self.is_closing:
            raise ApiError(503, "the server is being stopped", headers={"Retry-After": "5"})
        room = self.slots + self.settings.max_waiting
        if count > room:
            raise ApiError(400, f"{count} answers are asked for, and there is room for {room}")
        if self.running + self.waiting + count > room:
            raise ApiError(
                429,
                f"{self.waiting} answers are waiting already; ask again a little later",
                code="queue_full",
                headers={"Retry-After": "1"},
            )

    async def _answer(self, index: int, ask: Ask, place: _Place, arrived: Arrived) -> None:
        """Wait for a turn and hand on what comes; put an error where no answer comes."""
        reader = _Reader(ask)
        outcome = "given up"
        try:
            async with self._turns:
                place.begin()
                self.metrics.tokens.labels("prompt").inc(len(ask.prompt))
                loop = asyncio.get_running_loop()
                done = loop.run_in_executor(self._threads, reader.run, self._scheduler, loop)
                try:
                    async for event in reader.events():
                        place.saw_event()
                        arrived.put_nowait((index, event))
                        if event.generation is not None:
                            outcome = event.generation.stopped_by
                            self.metrics.tokens.labels("completion").inc(len(event.generation.ids))
                finally:
                    reader.cancel()
                    await asyncio.shield(done)
                    place.leave()
            if outcome == "given up":  # by the scheduler: nobody here did
                raise ApiError(503, "the server is being stopped", headers={"Retry-After": "5"})
        except Exception as error:
            outcome = "failed"
            arrived.put_nowait(error)
        finally:
            self.metrics.answers.labels(outcome).inc()


class _Place:
    """An answer's place in the queue, then among those that run."""

    def __init__(self, service: Service) -> None:
        self._service, self._asked = service, time.perf_counter()
        self._is_running = self._is_over = self._has_begun = False
        service.waiting += 1
        service.count()

    def begin(self) -> None:
        """Have one's turn."""
        self._is_running = True
        self._service.waiting -= 1
        self._service.running += 1
        self._service.count()
        self._service.metrics.queue_seconds.observe(time.perf_counter() - self._asked)

    def saw_event(self) -> None:
        """Note when the first token came."""
        if not self._has_begun:
            self._has_begun = True
            seconds = time.perf_counter() - self._asked
            self._service.metrics.first_token_seconds.observe(seconds)

    def leave(self) -> None:
        """Make room for others; a second time changes nothing."""
        if not self._is_over:
            self._is_over = True
            self._service.running -= self._is_running
            self._service.waiting -= not self._is_running
            self._service.count()


class _Reader:
    """Carries the events of a ticket, whose reading blocks a thread, into the event loop."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._came: asyncio.Queue[StreamEvent | Exception | None] = asyncio.Queue()
        self._lock = threading.Lock()
        self._ticket: Ticket | None = None
        self._is_canceled = False

    def run(self, scheduler: Scheduler, loop: asyncio.AbstractEventLoop) -> None:
        """Read to the end; runs in a thread."""
        last: Exception | None = None
        try:
            with scheduler.submit(self._ask.prompt, self._ask.sampling) as ticket:
                with self._lock:
                    self._ticket = ticket
                    if self._is_canceled:
                        ticket.cancel()
                for event in ticket.events():
                    loop.call_soon_threadsafe(self._came.put_nowait, event)
        except Exception as error:
            last = error
        loop.call_soon_threadsafe(self._came.put_nowait, last)

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """Yield what comes.

        Raises:
            HanlinError: the answer failed.
        """
        while (event := await self._came.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def cancel(self) -> None:
        """Let `run` end soon."""
        with self._lock:
            self._is_canceled = True
            if self._ticket is not None:
                self._ticket.cancel()


async def _until_all_ended(
    arrived: Arrived, count: int, *, timeout_s: float
) -> AsyncGenerator[Part]:
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while count:
        try:
            async with asyncio.timeout_at(end):  # wait_for of Python 3.11 can lose a cancel
                part = await arrived.get()
        except TimeoutError:
            message = f"no answer within {timeout_s:g} seconds; ask for a shorter one"
            raise ApiError(504, message, code="timeout") from None
        if isinstance(part, Exception):
            raise part
        count -= part[1].generation is not None
        yield part
