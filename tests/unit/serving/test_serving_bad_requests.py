"""200 bad requests of 20 kinds: each gets a 4xx with one JSON error, and the server goes on."""

import json
import random
import socket
from urllib.parse import urlsplit

import httpx
import pytest

CHAT = "/v1/chat/completions"
GOOD = {"messages": [{"role": "user", "content": "你好"}], "max_tokens": 2}
WORDS = ["", "x", "河流", "🙂", "null", "-1", "1e999", "\x00", "../..", "{}"]
KINDS = {
    "no JSON": lambda r: raw(CHAT, r.choice(['{"a"', "[1,", "nope", "", "'x'"])),
    "not UTF-8": lambda r: raw(CHAT, b'{"messages": "' + bytes([r.randrange(128, 192)]) + b'"}'),
    "half a surrogate pair": lambda r: raw(
        CHAT, f'{{"messages": "\\ud83d{r.choice(WORDS[1:4])}"}}'
    ),
    "NaN": lambda r: chat(r, temperature=r.choice([float("nan"), float("inf"), -float("inf")])),
    "nested deeply": lambda r: raw(CHAT, "[" * r.randrange(1000, 100_000)),
    "no object": lambda r: raw(CHAT, json.dumps(r.choice([[], 1, "x", None, True]))),
    "another content type": lambda r: raw(
        CHAT, json.dumps(GOOD), r.choice(["text/plain", "application/xml", "", "x"])
    ),
    "unknown field": lambda r: chat(r, **{f"field_{r.choice(WORDS)}": 1}),
    "missing field": lambda r: raw(CHAT, json.dumps({"max_tokens": r.randrange(9)})),
    "wrong type": lambda r: chat(
        r, **{r.choice(["temperature", "n", "seed"]): r.choice(["1", []])}
    ),
    "out of range": lambda r: chat(
        r, **r.choice([{"temperature": -1}, {"top_p": 0}, {"n": 99}, {"max_tokens": 0}])
    ),
    "wrong role": lambda r: chat(r, messages=[{"role": r.choice(WORDS), "content": "x"}]),
    "wrong order": lambda r: chat(
        r, messages=[{"role": role, "content": "x"} for role in ("user", "system", "assistant")]
    ),
    "image": lambda r: chat(r, messages=[{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": r.choice(WORDS)}}]}]),
    "another model": lambda r: chat(r, model=f"gpt-{r.choice(WORDS)}"),
    "too long": lambda r: chat(r, messages=[{"role": "user", "content": "汉字" * 600}]),
    "no such id": lambda r: raw(
        "/v1/completions", json.dumps({"prompt": [r.randrange(10**6, 10**9)]})
    ),
    "no such path": lambda r: ("GET", f"/v{r.randrange(2, 99)}/{r.randrange(99)}", b"", ""),
    "wrong method": lambda r: (r.choice(["GET", "PUT", "DELETE", "PATCH"]), CHAT, b"", ""),
    "half of KnowLM's": lambda r: raw("/generate", json.dumps({"instruction": r.choice(WORDS)})),
}  # fmt: skip


def raw(path, body, kind="application/json"):
    return "POST", path, body.encode() if isinstance(body, str) else body, kind


def chat(_random, **fields):
    return raw(CHAT, json.dumps({**GOOD, **fields}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_request_gets_one_json_error(server, kind):
    random_ = random.Random(kind)
    with httpx.Client(base_url=server.address, timeout=60) as client:
        for _ in range(10):
            method, path, body, content_type = KINDS[kind](random_)
            reply = client.request(
                method, path, content=body, headers={"Content-Type": content_type}
            )
            assert 400 <= reply.status_code < 500, (kind, body[:100], reply.text)
            assert reply.headers["content-type"] == "application/json"
            error = reply.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert error["message"] and error["type"] == "invalid_request_error"
            assert "\ufffd" not in error["message"]
        assert client.post(CHAT, json=GOOD).status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/9.9\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_a_json_error_too(server, text):
    place = urlsplit(server.address)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(text)
        reply = b""
        while data := connection.recv(65536):
            reply += data
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4"), head
    assert json.loads(body)["error"]["message"]
    assert httpx.get(f"{server.address}/healthz").json()["status"] == "ok"
