"""How does an answer grow before a person's eyes? As text that changes, with beams and a status."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from hanlin.core.errors import HanlinError
from hanlin.inference.engine import Beam, StoppedBy, StreamEvent
from hanlin.serving.ui.words import Key, word

INTERVAL_S = 0.05  # between two states that a browser is sent
STATUS: dict[StoppedBy, Key] = {"eos": "finished", "stop": "finished", "length": "length"}


@dataclass(frozen=True)
class Shown:
    """One state of an answer.

    Attributes:
        text: what can no longer change.
        tail: what the best beam says after it.
        status: key of a word.
        beams: all beams, best first.
        num_tokens: of the finished answer.
        elapsed_s: since it was asked for.
        error: why there is no answer, or not all of it.
    """

    text: str = ""
    tail: str = ""
    status: Key = "waiting"
    beams: tuple[Beam, ...] = ()
    num_tokens: int | None = None
    elapsed_s: float = 0.0
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Tell whether it is the last one."""
        return self.status not in ("waiting", "answering")


def grow(events: Iterator[StreamEvent]) -> Iterator[Shown]:
    """Yield the states of an answer; the last one, and no other, is over."""
    shown, certain, done = Shown(), "", None
    started, sent_at = time.monotonic(), 0.0
    yield shown
    try:
        for event in events:
            certain, done = certain + event.text, event.generation
            tail = event.beams[0].tail if event.beams else ""
            # Beside the last event's only beam, those that it won against say more.
            beams = event.beams if len(event.beams) > 1 or not shown.beams else shown.beams
            shown = Shown(certain, tail, "answering", beams)
            if done is None and time.monotonic() - sent_at >= INTERVAL_S:
                sent_at = time.monotonic()
                yield shown
    except HanlinError as error:
        yield replace(shown, text=certain.rstrip(), tail="", status="error", error=str(error))
        return
    yield replace(
        shown,
        text=certain.rstrip(),
        tail="",
        status=STATUS[done.stopped_by] if done else "stopped",
        num_tokens=len(done.ids) if done else None,
        elapsed_s=time.monotonic() - started,
    )


def status_html(shown: Shown, language: str, *, num_forgotten: int = 0) -> str:
    """Return the line below an answer."""
    parts = [word(shown.status, language)]
    if shown.num_tokens is not None:
        parts.append(f"{shown.num_tokens} {word('tokens', language)}")
    if shown.elapsed_s:
        parts.append(f"{shown.elapsed_s:.1f} {word('seconds', language)}")
    if num_forgotten:
        parts.append(f"{num_forgotten} {word('forgotten', language)}")
    if shown.error:
        parts.append(shown.error)
    return note_html(" · ".join(parts), kind=shown.status)


def note_html(text: str, *, kind: str = "note") -> str:
    """Return a status line that says something."""
    return f'<p class="status" data-status="{kind}">{inert(text)}</p>'


def beams_html(beams: Sequence[Beam], language: str) -> str:
    """Return all beams: what is certain in dark letters, what may still change in light ones."""
    if not beams:
        return ""
    rows = "".join(
        f'<li><span class="beam">{inert(beam.text)}<span class="tail">{inert(beam.tail)}</span>'
        f'</span><span class="score">{beam.score:.3f}</span></li>'
        for beam in beams
    )
    heading = inert(word("beam_heading", language))
    return f'<section class="beams"><h4>{heading}</h4><ol>{rows}</ol></section>'


def inert(text: str) -> str:
    """Escape a text."""
    return literal(escape(text))


def literal(html: str) -> str:
    """Escape what the templates of gradio's HTML read, too: braces, dollars, back ticks."""
    for mark in "{}$`\\":
        html = html.replace(mark, f"&#{ord(mark)};")
    return html
