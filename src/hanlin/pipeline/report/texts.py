"""What was a model taught, and what does it say? From the lines of events.jsonl."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hanlin.pipeline.report.card import AskedAgain, Sample, TrainedRow, TrainingTexts
from hanlin.pipeline.report.clean import without_paths
from hanlin.pipeline.report.curves import append, is_number, told

OPEN, CLOSE = "⟦", "⟧"  # in the event `first_rows`, around what the loss counts
MOST_CHARACTERS = 600  # of a text that is shown; of a longer one its beginning and its end
MOST_SAMPLES, MOST_ANSWERS = 8, 8
Event = dict[str, Any]


def training_texts(events: Iterable[Event], run_dir: Path) -> tuple[TrainingTexts, ...]:
    """Return the texts of every stage that logged some."""
    found = []
    for stage, own in told(events).items():
        continued = without_paths(_text(_last(own, "continued").get("text")), run_dir)
        answers = _last(own, "answers")
        again = [_asked(one) for one in _dicts(answers.get("answers"))]
        texts = TrainingTexts(
            stage=stage,
            continued=continued,
            rows=_rows(own),
            samples=_samples(own),
            answers=tuple(again[:MOST_ANSWERS]),
            asked=len(again),
            ended=sum(one.is_ended for one in again),
        )
        found += [texts] if texts != TrainingTexts(stage) else []
    return tuple(found)


def trained_parts(text: str) -> list[tuple[str, bool]]:
    """Split the text of a row into parts, each with whether the loss counts it."""
    parts = re.split(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}", text)
    return [(part, bool(index % 2)) for index, part in enumerate(parts) if part]


def _rows(events: Sequence[Event]) -> tuple[TrainedRow, ...]:
    """Return the first rows; a stage that goes on shows them again."""
    rows: dict[int, TrainedRow] = {}
    for event in events:
        number = event.get("row")
        if event.get("event") != "first_rows" or not is_number(number):
            continue
        text = _text(event.get("text"))
        if "chosen" in event:
            text = f"{_text(event.get('prompt'))}{OPEN}{_text(event['chosen'])}{CLOSE}"
        rows[int(number)] = TrainedRow(int(number), text, _text(event.get("rejected")))
    return tuple(rows.values())


def _samples(events: Sequence[Event]) -> tuple[Sample, ...]:
    lines: dict[tuple[str, str], dict[float, str]] = {}
    for event in events:
        step = event.get("step")
        if event.get("event") == "sample" and is_number(step):
            key = (str(event.get("language") or ""), _text(event.get("prompt")))
            append(lines.setdefault(key, {}), step, _text(event.get("text")))
    found = []
    for (language, prompt), line in lines.items():
        steps = list(dict.fromkeys([min(line), max(line)]))
        found.append(Sample(language, prompt, tuple((step, line[step]) for step in steps)))
    return tuple(found[:MOST_SAMPLES])


def _asked(one: Event) -> AskedAgain:
    prompt, answer, trained = (_text(one.get(key)) for key in ("prompt", "answer", "trained"))
    return AskedAgain(prompt, answer, trained, is_ended=one.get("is_ended") is True)


def _last(events: Sequence[Event], kind: str) -> Event:
    return next((event for event in reversed(events) if event.get("event") == kind), {})


def _dicts(value: object) -> list[Event]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    text, half = value if isinstance(value, str) else "", MOST_CHARACTERS // 2
    return text if len(text) <= MOST_CHARACTERS else f"{text[:half]} … {text[-half:]}"
