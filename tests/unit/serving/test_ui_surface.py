"""What of the page can be reached, by whom? Only what the page itself needs."""

import httpx
import pytest
from ui_page import page_of, place

HERE = {"timeout": 60}


@pytest.fixture(scope="module")
def address(tiny_engine):
    with page_of(place("tiny", tiny_engine)) as address:
        yield address


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/file=/etc/hosts",
        "/gradio_api/proxy=https://example.org/", "/gradio_api/run/predict", "/gradio_api/upload",
        "/gradio_api/call/ask", "/gradio_api/runs", "/gradio_api/run-history/buckets",
        "/monitoring", "/login", "/docs", "/openapi.json", "/manifest.json",
        "/gradio_api/component_server",
        "/assets/%2e%2e/%2e%2e/%2e%2e/routes.py",
    ],
)  # fmt: skip
def test_gradio_offers_nothing_that_the_page_does_not_need(address, path):
    for method in ("GET", "POST"):
        assert httpx.request(method, address + path, **HERE).status_code == 404


def test_the_browser_is_told_to_ask_nobody_else(address):
    reply = httpx.get(f"{address}/", **HERE)
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["referrer-policy"] == "no-referrer"


def test_no_event_of_the_page_is_an_entry_of_an_api(address):
    config = httpx.get(f"{address}/config", **HERE).json()
    assert config["dependencies"]
    assert {event["api_visibility"] for event in config["dependencies"]} == {"private"}
    assert config["analytics_enabled"] is False


def test_the_api_is_beside_the_page(address):
    root = address.removesuffix("/ui")
    reply = httpx.get(f"{root}/v1/models", **HERE)
    assert reply.json()["data"][0]["id"] == "tiny"
    assert "content-security-policy" not in reply.headers
    assert not [path for path in httpx.get(f"{root}/openapi.json").json()["paths"] if "ui" in path]


def test_the_servers_guard_stands_before_the_page(tiny_engine):
    with page_of(place("tiny", tiny_engine), keys=("secret",)) as address:
        for path in ("/", "/config", "/gradio_api/queue/join", "/theme.css"):
            assert httpx.get(address + path, **HERE).status_code == 401
        assert httpx.get(f"{address}/", auth=("anybody", "wrong"), **HERE).status_code == 401
        assert httpx.get(f"{address}/", auth=("anybody", "secret"), **HERE).status_code == 200
        elsewhere = {"Host": "evil.example"}
        reply = httpx.get(f"{address}/", auth=("a", "secret"), headers=elsewhere, **HERE)
        assert reply.status_code == 403
