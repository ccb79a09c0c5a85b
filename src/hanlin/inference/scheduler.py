"""How do many threads share one model? Each hands in a request and reads its own events.

    with Scheduler(engine) as scheduler, scheduler.submit(prompt, sampling) as ticket:
        for event in ticket.events():
            ...

An engine with `open_batch` (transformers) answers all requests in one batch, which they join and
leave between two steps. One with `num_slots` answers so many at once, each in a thread of its own
(llama.cpp). Else they are answered one after the other, in the order in which they came.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from hanlin.core.closing import Closing
from hanlin.core.errors import HanlinError, ResourceError
from hanlin.inference.engine import Engine, Sampling, StreamEvent
from hanlin.inference.out_of_memory import is_out_of_memory, out_of_memory

if TYPE_CHECKING:
    from hanlin.inference.batch import RunningBatch
    from hanlin.inference.decoder import Decoder

log = logging.getLogger(__name__)


class Ticket:
    """A request that was handed in; leaving its `with` block cancels what is left of it.

    Attributes:
        is_over: the last event is there, or an error, or it was canceled.
    """

    def __init__(self, prompt: Sequence[int], sampling: Sampling) -> None:
        self.prompt, self.sampling = list(prompt), sampling
        self.is_over = False
        self._is_canceled = threading.Event()
        self._arrived: SimpleQueue[StreamEvent | HanlinError | None] = SimpleQueue()

    @property
    def is_canceled(self) -> bool:
        """Tell whether nobody waits for the answer any more."""
        return self._is_canceled.is_set()

    def events(self) -> Generator[StreamEvent]:
        """Yield each event as it comes, once; closing it cancels the request.

        It ends early where the request was canceled.

        Raises:
            HanlinError: why there is no answer, or not all of it.
        """
        try:
            while (event := self._arrived.get()) is not None:
                if isinstance(event, HanlinError):
                    raise event
                yield event
                if event.generation is not None:
                    return
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Give the request up; its place is free after the step that is being computed."""
        if not self.is_over:
            self._is_canceled.set()
        self.end(None)

    def put(self, event: StreamEvent) -> None:
        """Hand an event to whoever reads the ticket."""
        if not self.is_over:
            self.is_over = event.generation is not None
            self._arrived.put(event)

    def end(self, error: HanlinError | None) -> None:
        """End the ticket: with an error, or without an answer."""
        if not self.is_over:
            self.is_over = True
            self._arrived.put(error)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Scheduler(Closing):
    """Runs an engine for many threads.

    Args:
        engine: the model.
        max_running: requests that are answered at the same time, at most.

    Attributes:
        num_slots: how many are, with this engine.
    """

    def __init__(self, engine: Engine, *, max_running: int = 16) -> None:
        self._engine, self._max_running = engine, max_running
        self._waiting: SimpleQueue[Ticket | None] = SimpleQueue()
        self._open: set[Ticket] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        work, count = self._answer_each, min(max_running, getattr(engine, "num_slots", 1))
        self.num_slots = count
        if hasattr(engine, "open_batch"):
            work, count, self.num_slots = self._answer_together, 1, max_running
        self._threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def num_open(self) -> int:
        """Return how many requests are running or wait for it."""
        return len(self._open)

    def submit(self, prompt: Sequence[int], sampling: Sampling) -> Ticket:
        """Hand in a request.

        Raises:
            ResourceError: the scheduler is closed.
        """
        ticket = Ticket(prompt, sampling)
        with self._lock:
            if self._is_closed:
                raise ResourceError(
                    "no more requests are taken",
                    why="the scheduler was closed",
                    fix="start the program again",
                )
            self._open.add(ticket)
            self._waiting.put(ticket)
        return ticket

    def close(self) -> None:
        """Cancel every request and stop the threads."""
        with self._lock:
            self._is_closed = True
            for ticket in self._open:
                ticket.cancel()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._open.clear()

    def _answer_each(self) -> None:
        """Answer one request after the other, until the scheduler is closed."""
        while (ticket := self._waiting.get()) is not None:
            try:
                if not ticket.is_over:
                    self._answer(ticket)
            except Exception as error:  # whatever a backend does ends one request only
                ticket.end(as_hanlin_error(error))
            finally:
                self._forget(ticket)

    def _answer(self, ticket: Ticket) -> None:
        with closing(self._engine.events(ticket.prompt, ticket.sampling)) as events:
            for event in events:
                ticket.put(event)
                if ticket.is_over:
                    return

    def _answer_together(self) -> None:
        """Answer all requests in one batch, until the scheduler is closed."""
        shared = _Shared(self._engine)
        while (new := self._next_tickets(len(shared.tickets))) is not None:
            known = [*shared.tickets.values(), *new]
            try:
                shared.join([ticket for ticket in new if not ticket.is_over])
                shared.step()
                shared.drop_canceled()
            except Exception as error:  # a bug, or no memory where nothing can be saved
                for ticket in known:
                    ticket.end(as_hanlin_error(error))
                shared = _Shared(self._engine)
            running = set(shared.tickets.values())
            for ticket in known:
                if ticket not in running:
                    self._forget(ticket)

    def _next_tickets(self, num_running: int) -> list[Ticket] | None:
        """Return requests that can join, waiting for one if none is running; None to stop."""
        found: list[Ticket] = []
        while num_running + len(found) < self._max_running:
            try:
                ticket = self._waiting.get(block=num_running + len(found) == 0)
            except Empty:
                break
            if ticket is None:
                return None
            found.append(ticket)
        return found

    def _forget(self, ticket: Ticket) -> None:
        with self._lock:
            self._open.discard(ticket)


class _Shared:
    """Requests that run together: in one batch for each adapter that answers some.

    Attributes:
        tickets: of the requests that run.
    """

    def __init__(self, engine: Any) -> None:  # noqa: ANN401 - an engine with open_batch
        self.tickets: dict[Decoder, Ticket] = {}
        self._engine = engine
        self._batches: dict[str | None, RunningBatch] = {}

    def drop_canceled(self) -> None:
        """Free the places of requests that nobody waits for."""
        for decoder, ticket in list(self.tickets.items()):
            if ticket.is_canceled:
                self._batches[ticket.sampling.adapter].leave(decoder)
                del self.tickets[decoder]

    def join(self, tickets: Sequence[Ticket]) -> None:
        """Take requests in, those with prompts of about one length by one pass."""
        for group in _of_like_length(tickets):
            self._read(group)

    def step(self) -> None:
        """Give each request its next token; the largest ends where there is no memory for all."""
        for batch in self._batches.values():
            decoders = batch.decoders
            if not decoders:
                continue
            try:
                batch.step()
            except ResourceError as error:
                largest = max(decoders, key=batch.size)
                batch.leave(largest)
                self.tickets.pop(largest).end(error)
            else:
                self._hand_out(decoders)

    def _read(self, tickets: Sequence[Ticket]) -> None:
        """Read prompts for one adapter; where there is no memory for all, one by one."""
        new: dict[Decoder, Ticket] = {}
        for ticket in tickets:
            try:
                new[self._engine.decoder(ticket.prompt, ticket.sampling)] = ticket
            except HanlinError as error:
                ticket.end(error)
        if not new:
            return
        adapter = tickets[0].sampling.adapter
        if adapter not in self._batches:
            self._batches[adapter] = self._engine.open_batch(adapter)
        try:
            self._batches[adapter].join(list(new))
        except ResourceError as error:
            if len(new) == 1:
                next(iter(new.values())).end(error)
            else:
                for ticket in new.values():
                    self._read([ticket])
        else:
            self.tickets |= new
            self._hand_out(list(new))

    def _hand_out(self, decoders: Sequence[Decoder]) -> None:
        """Give each request what is new of it."""
        for decoder in decoders:
            ticket = self.tickets[decoder]
            if decoder.error is not None:
                ticket.end(decoder.error)
            else:
                ticket.put(decoder.event())
            if decoder.is_over:
                del self.tickets[decoder]


def _of_like_length(tickets: Sequence[Ticket]) -> list[list[Ticket]]:
    """Return groups for one adapter each, in which no prompt is twice as long as another."""
    groups: list[list[Ticket]] = []
    for ticket in sorted(tickets, key=lambda t: (t.sampling.adapter or "", len(t.prompt))):
        first = groups[-1][0] if groups else ticket
        is_alike = ticket.sampling.adapter == first.sampling.adapter
        if groups and is_alike and len(ticket.prompt) <= 2 * len(first.prompt):
            groups[-1].append(ticket)
        else:
            groups.append([ticket])
    return groups


def as_hanlin_error(error: Exception) -> HanlinError:
    """Return what a request that failed tells its caller."""
    if isinstance(error, HanlinError):
        return error
    if is_out_of_memory(error):
        return out_of_memory(str(error))
    log.error("a request failed", exc_info=error)
    return HanlinError(
        "the model failed while it answered",
        why=f"{type(error).__name__}: {error}",
        fix="ask again; if it stays so, look at the log",
    )
