"""Any text, in any mode, cut anywhere: what is streamed is what is decoded, without U+FFFD.

A grammar makes a real model say the text; which tokens spell it (pieces, or single bytes of its
characters) is the model's choice, and chance.
"""

from __future__ import annotations

import random
import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hanlin.core.records import Grammar
from hanlin.inference.answer import Answer
from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.inference.engine import Sampling
from hanlin.inference.scheduler import Scheduler
from hanlin.models.tiny import make_tiny

REPLACEMENT = "\ufffd"
WAYS = {
    "greedy": Sampling(max_new_tokens=400),
    "sampled": Sampling(max_new_tokens=400, temperature=3.0),
    "beams": Sampling(max_new_tokens=400, num_beams=3),
    "drawn beams": Sampling(max_new_tokens=400, num_beams=3, temperature=1.0),
}
characters = st.characters(
    exclude_categories=["Cs", "Cn", "Co"], exclude_characters=REPLACEMENT + "\x00"
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return TransformersEngine(str(make_tiny(tmp_path_factory.mktemp("tiny"))))


@pytest.fixture(scope="module")
def scheduler(engine):
    with Scheduler(engine) as scheduler:
        yield scheduler


def shown(event):
    return [event.text, *(part for beam in event.beams for part in (beam.text, beam.tail))]


@pytest.mark.parametrize("way", WAYS)
@given(text=st.text(characters, min_size=1, max_size=24), seed=st.integers(0, 99))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_is_streamed_whole(engine, scheduler, way, text, seed):
    chosen = Grammar("regex", "".join(f"\\x{{{ord(char):x}}}" for char in text))
    sampling = Sampling(**{**vars(WAYS[way]), "seed": seed, "grammar": chosen})
    with scheduler.submit([1, 5], sampling) as ticket:
        events = list(ticket.events())
    answer = events[-1].generation
    assert answer.text == text == "".join(event.text for event in events)
    assert engine.tokenizer.decode_continuation(answer.ids) == text
    assert not any(REPLACEMENT in part for event in events for part in shown(event))


def test_all_assigned_code_points_in_random_order(engine):
    points = [
        chr(point)
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)) not in ("Cn", "Cs", "Co") and point != 0xFFFD
    ]
    assert len(points) > 140_000
    random.Random(0).shuffle(points)
    tokenizer = engine.tokenizer
    for start in range(0, len(points), 500):
        text = "".join(points[start : start + 500])  # SentencePiece: U+2581 is a space
        answer = Answer(tokenizer, stop=(), eos_ids=[tokenizer.eos_id], limit=sys.maxsize)
        pieces = []
        ids = tokenizer.encode(text, at_start=False)
        for token in [*ids, tokenizer.eos_id]:
            answer.push(token)
            pieces.append(answer.event().text)
        assert "".join(pieces) == tokenizer.decode_continuation(ids) == text.replace("▁", " ")
        assert not any(REPLACEMENT in piece for piece in pieces)


@pytest.mark.parametrize("way", WAYS)
def test_bytes_of_characters_that_are_never_finished_are_left_out(engine, way):
    """An untrained model, forbidden nothing: its bytes are no text at all."""
    sampling = Sampling(**{**vars(WAYS[way]), "max_new_tokens": 60, "temperature": 5.0})
    for prompt in ([1, 5], [1, 130, 131]):
        events = list(engine.events(prompt, sampling))
        answer = events[-1].generation
        raw = b"".join(map(engine.tokenizer.bytes_of, answer.ids))
        assert answer.text == raw.decode(errors="ignore").replace(REPLACEMENT, "")
        assert answer.text == "".join(event.text for event in events)
        assert not any(REPLACEMENT in part for event in events for part in shown(event))
