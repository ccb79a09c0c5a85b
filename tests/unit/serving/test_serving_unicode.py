"""Every event of a stream is whole: valid UTF-8, valid JSON, and never a replacement character.

The model is held to a text by a grammar, so that it says it in its own tokens: bytes, mostly.
"""

import json
import sys
import unicodedata

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ASSIGNED = [
    code for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) not in ("Cn", "Cs") and code != 0xFFFD
]  # fmt: skip
# Text that a JSON-lines or SSE reader could cut in the wrong place.
ODD = "\r\n\u2028\u2029\x85\x00\ufeff\u0301👨‍👩‍👧🇨🇳"


def read_events(reply):
    """The JSON values of a stream, read byte by byte as the standard says."""
    data = reply.read()
    assert b"\r" not in data and data.endswith(b"\n\n")
    events = data.decode("utf-8").removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


def say(address, text, **more):
    body = {"prompt": "a", "max_tokens": 500, "guided_choice": [text], "stream": True, **more}
    with httpx.stream("POST", f"{address}/v1/completions", json=body, timeout=60) as reply:
        assert reply.status_code == 200
        return read_events(reply)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.lists(st.sampled_from(ASSIGNED), min_size=1, max_size=100).map(
    lambda codes: "".join(map(chr, codes))))  # fmt: skip
def test_any_characters_arrive_whole(server, text):
    events = say(server.address, text)
    pieces = [event["choices"][0]["text"] for event in events]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_odd_characters_arrive_whole_with_their_log_probabilities(server):
    events = say(server.address, ODD, logprobs=1)
    assert "".join(event["choices"][0]["text"] for event in events) == ODD
    assert "\ufffd" not in json.dumps(events, ensure_ascii=False)


def test_what_the_model_says_freely_has_no_replacement_character(server):
    """At this temperature bytes come in any order; those that make no character are left out."""
    body = {"prompt": "a", "max_tokens": 400, "temperature": 2, "seed": 3}
    events = say(server.address, "", **body, guided_choice=None, logprobs=2)
    assert "\ufffd" not in json.dumps(events, ensure_ascii=False)
    whole = httpx.post(f"{server.address}/v1/completions", json=body, timeout=60).json()
    assert "".join(event["choices"][0]["text"] for event in events) == whole["choices"][0]["text"]
