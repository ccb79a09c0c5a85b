"""Who is let in, what is too much, and what happens when somebody leaves or time runs out."""

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from hanlin.core.errors import ConfigError
from hanlin.serving.settings import Settings
from served_model import server_of

KEY = "sk-河流-1234567890"
OTHERS = "sk-other"
LONG = {"prompt": "河流", "max_tokens": 90_000, "temperature": 0, "stream": True}


def bearer(key):
    return {"Authorization": f"Bearer {key}".encode()}


def basic(key):
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{key}".encode()).decode()}


@pytest.fixture(scope="module")
def locked(tiny_engine):
    with server_of(tiny_engine, keys=(KEY, OTHERS), origins=("https://page.example",)) as address:
        yield address


PATHS = [
    "/v1/models", "/healthz", "/metrics", "/is_ready", "/openapi.json", "/nothing", "/ui", "/",
    "/v1/chat/completions", "/v1/completions", "/v1/extract", "/generate",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_without_a_key_there_is_nothing(locked, path):
    odd = [{"Authorization": value} for value in ("Bearer", "Basic x", KEY.encode())]
    wrong = [{}, bearer("sk-wrong"), bearer(KEY[:-1]), basic("sk-wrong"), *odd]
    with httpx.Client() as client:
        for headers in wrong:
            for method in ("GET", "POST", "OPTIONS"):
                reply = client.request(method, locked + path, headers=headers)
                assert reply.status_code == 401
                assert reply.json()["error"]["code"] == "invalid_api_key"


def test_each_key_opens_as_bearer_and_as_a_browsers_password(locked):
    for headers in (bearer(KEY), bearer(OTHERS), basic(KEY)):
        assert httpx.get(f"{locked}/v1/models", headers=headers).status_code == 200


def test_the_description_names_the_key(locked):
    description = httpx.get(f"{locked}/openapi.json", headers=bearer(KEY)).json()
    assert description["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


@pytest.mark.parametrize("path", PATHS)
def test_from_another_host_there_is_nothing(locked, path):
    for host in ("evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::1", "localhost.x"):
        reply = httpx.get(locked + path, headers={**bearer(KEY), "Host": host})
        assert reply.status_code in (400, 403)
        assert "error" in reply.json()


def test_names_of_this_machine_are_known(locked):
    port = urlsplit(locked).port
    for host in (f"localhost:{port}", "LOCALHOST", f"127.0.0.1:{port}", f"[::1]:{port}"):
        reply = httpx.get(f"{locked}/v1/models", headers={**bearer(KEY), "Host": host})
        assert reply.status_code == 200


def test_a_page_elsewhere_may_not_ask_unless_it_is_named(locked):
    def ask(origin, method="GET", **more):
        headers = {**bearer(KEY), "Origin": origin, **more}
        return httpx.request(method, f"{locked}/v1/models", headers=headers)

    for origin in ("https://evil.example", "null", "https://page.example.evil"):
        reply = ask(origin)
        assert reply.status_code == 403
        assert "access-control-allow-origin" not in reply.headers
    allowed = ask("https://page.example")
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://page.example"
    assert ask(locked).status_code == 200  # its own page
    preflight = ask("https://page.example", "OPTIONS", **{"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 200


def test_no_page_is_allowed_by_default(tiny_engine):
    with server_of(tiny_engine) as address:
        reply = httpx.options(
            f"{address}/v1/models",
            headers={"Origin": "https://a.example", "Access-Control-Request-Method": "GET"},
        )
        assert reply.status_code == 403
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_long_body_is_refused_with_and_without_its_length(tiny_engine):
    with server_of(tiny_engine, max_body_bytes=2000) as address:
        body = json.dumps({"prompt": "x" * 2000}).encode()

        def pieces():
            for start in range(0, len(body), 100):
                yield body[start : start + 100]

        for content in (body, pieces()):
            reply = httpx.post(
                f"{address}/v1/completions", content=content,
                headers={"Content-Type": "application/json"},
            )  # fmt: skip
            assert reply.status_code == 413
            assert "longer than 2000 bytes" in reply.json()["error"]["message"]


def test_a_body_that_does_not_come_ends_in_time(tiny_engine):
    with server_of(tiny_engine, body_timeout_s=0.3) as address:
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            connection.sendall(
                b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
            )
            reply = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b" 408 " in reply.partition(b"\r\n")[0]
        assert b"did not arrive in time" in reply


@contextmanager
def talking(address, **more):
    """A client that is in the middle of a long answer."""
    with (
        httpx.Client(timeout=60) as client,
        client.stream("POST", f"{address}/v1/completions", json={**LONG, **more}) as reply,
    ):
        lines = reply.iter_lines()
        assert next(lines).startswith("data: ")
        yield


def test_the_queue_has_an_end(slow_engine):
    limits = {"max_running": 1, "max_waiting": 1, "max_new_tokens": 90_000}
    short = {"prompt": "a", "max_tokens": 1}
    with server_of(slow_engine, **limits) as address:
        replies = []

        def wait_in_line():
            replies.append(httpx.post(f"{address}/v1/completions", json=short, timeout=60))

        waiting = threading.Thread(target=wait_in_line)
        with talking(address):
            waiting.start()
            while not httpx.get(f"{address}/healthz").json()["waiting"]:
                time.sleep(0.01)
            reply = httpx.post(f"{address}/v1/completions", json=short)
            assert reply.status_code == 429
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.json()["error"]["code"] == "queue_full"
            assert httpx.get(f"{address}/healthz").json()["running"] == 1
        waiting.join(60)
        assert replies[0].status_code == 200
        many = httpx.post(f"{address}/v1/completions", json={**short, "n": 3})
        assert many.status_code == 400
        assert "room for 2" in many.json()["error"]["message"]


@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_leaves_frees_its_place_within_a_second(slow_engine, streams):
    with server_of(slow_engine, max_running=1, max_waiting=0, max_new_tokens=90_000) as address:
        if streams:
            with talking(address):
                pass
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{address}/v1/completions", json={**LONG, "stream": False}, timeout=1)
        left = time.monotonic()
        while httpx.get(f"{address}/healthz").json()["running"]:
            assert time.monotonic() - left < 1
        reply = httpx.post(f"{address}/v1/completions", json={"prompt": "a", "max_tokens": 1})
        assert reply.status_code == 200
        assert time.monotonic() - left < 2
        text = httpx.get(f"{address}/metrics").text
        assert 'hanlin_answers_total{outcome="given up"} 1.0' in text


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_that_takes_too_long_ends(slow_engine, streams):
    with server_of(slow_engine, timeout_s=0.5, max_new_tokens=90_000) as address:
        reply = httpx.post(f"{address}/v1/completions", json={**LONG, "stream": streams})
        assert "no answer within 0.5 seconds" in reply.text
        if streams:
            error = json.loads(reply.text.split("\n\n")[-3].removeprefix("data: "))["error"]
            assert reply.text.endswith("data: [DONE]\n\n")
        else:
            assert reply.status_code == 504
            error = reply.json()["error"]
        assert error["code"] == "timeout"
        assert httpx.get(f"{address}/healthz").json()["running"] == 0


@pytest.mark.parametrize(("name", "value"), [("max_running", 0), ("timeout_s", float("inf"))])
def test_limits_out_of_range(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        Settings(**{name: value})
