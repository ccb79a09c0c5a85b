"""How does the page ask a model? Through the queue that the API uses, too.

A browser's tickets are remembered by its session: its stop button, and its leaving, end them all.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from threading import Lock

from hanlin.inference.engine import Generation, Sampling, StreamEvent
from hanlin.inference.scheduler import Ticket
from hanlin.inference.wrapped_engine import WrappedEngine
from hanlin.serving.settings import UiPlace


def models_of(place: UiPlace) -> dict[str, UiPlace]:
    """Return the models of a page by names that differ."""
    models = {place.name: place}
    if place.other is not None:
        name = place.other.name
        models[name if name != place.name else f"{name} (2)"] = place.other
    return models


class Sessions:
    """Which tickets does each browser wait for?"""

    def __init__(self) -> None:
        self._tickets: dict[str, set[Ticket]] = {}
        self._lock = Lock()

    def events(
        self, session: str, model: UiPlace, prompt: Sequence[int], sampling: Sampling
    ) -> Generator[StreamEvent]:
        """Ask a model; the events end early when the session is stopped.

        Raises:
            HanlinError: why there is no answer.
        """
        with model.scheduler.submit(prompt, sampling) as ticket:
            self._add(session, ticket)
            try:
                yield from ticket.events()
            finally:
                self._discard(session, ticket)

    def stop(self, session: str) -> None:
        """End all that a session waits for, or all sessions that begin so."""
        with self._lock:
            waiting = [
                ticket
                for name, tickets in self._tickets.items()
                if name.startswith(session)
                for ticket in tickets
            ]
        for ticket in waiting:
            ticket.cancel()

    def _add(self, session: str, ticket: Ticket) -> None:
        with self._lock:
            self._tickets.setdefault(session, set()).add(ticket)

    def _discard(self, session: str, ticket: Ticket) -> None:
        with self._lock:
            self._tickets[session].discard(ticket)
            if not self._tickets[session]:
                del self._tickets[session]


class Queued(WrappedEngine):
    """A model as one session sees it: the part of an `Engine` that talking and extracting need.

    Attributes:
        is_stopped: the last answer of `generate` was broken off.
    """

    def __init__(self, model: UiPlace, sessions: Sessions, session: str) -> None:
        super().__init__(model.engine)
        self.is_stopped = False
        self._model, self._sessions, self._session = model, sessions, session

    def events(self, prompt: Sequence[int], sampling: Sampling) -> Generator[StreamEvent]:
        """Wait for a turn and yield the answer as it comes."""
        return self._sessions.events(self._session, self._model, prompt, sampling)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt, the one that was broken off as far as it came."""
        return [self._generation(prompt, sampling) for prompt in prompts]

    def _generation(self, prompt: Sequence[int], sampling: Sampling) -> Generation:
        texts = []
        for event in self.events(prompt, sampling):
            if event.generation is not None:
                return event.generation
            texts.append(event.text)
        self.is_stopped = True
        return Generation("".join(texts), (), "length")
