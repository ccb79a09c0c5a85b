"""A model that fails ends the one request with a clear error; the server and the others go on."""

import threading
from contextlib import contextmanager

import httpx
import openai
import pytest
import torch

from hanlin.core.errors import ResourceError
from served_model import server_of

TOO_MUCH = "CUDA out of memory. Tried to allocate 2 GiB"


@contextmanager
def failing_at(token, error):
    """Let the real model fail whenever it reads a certain token."""

    def fail(module, inputs):
        if isinstance(module, torch.nn.Embedding) and (inputs[0] == token).any():
            raise error

    hook = torch.nn.modules.module.register_module_forward_pre_hook(fail)
    try:
        yield
    finally:
        hook.remove()


class Dead:
    """The real engine one request at a time, whose backend dies behind the third event."""

    def __init__(self, engine, token):
        self._engine, self._token = engine, token

    def __getattr__(self, name):
        if name == "open_batch":
            raise AttributeError(name)
        return getattr(self._engine, name)

    def events(self, prompt, sampling):
        for count, event in enumerate(self._engine.events(prompt, sampling)):
            if count == 3 and self._token in prompt:
                raise ResourceError("llama.cpp has ended", why="killed", fix="start it again")
            yield event


@pytest.fixture(scope="module")
def token(tiny_engine):
    return tiny_engine.tokenizer.encode("古", at_start=False)[0]


@pytest.fixture(params=["out of memory", "dead"])
def address(request, tiny_engine, token):
    if request.param == "dead":
        with server_of(Dead(tiny_engine, token)) as found:
            yield found
    else:
        error = torch.OutOfMemoryError(TOO_MUCH)
        with failing_at(token, error), server_of(tiny_engine) as found:
            yield found


def ask(address, prompt, **more):
    body = {"prompt": prompt, "max_tokens": 20, "temperature": 0, **more}
    return httpx.post(f"{address}/v1/completions", json=body, timeout=60)


def test_the_request_ends_with_an_error_and_the_others_go_on(address):
    others = []

    def ask_meanwhile():
        body = {"guided_choice": ["河流河流河流"]}
        others.extend(ask(address, "河流", **body).status_code for _ in range(4))

    thread = threading.Thread(target=ask_meanwhile)
    thread.start()
    for _ in range(3):
        reply = ask(address, "古桥")
        assert reply.status_code == 503
        error = reply.json()["error"]
        assert error["code"] == "backend_failed" and error["type"] == "server_error"
        assert "memory" in error["message"] or "llama.cpp has ended" in error["message"]
        assert "古桥" not in error["message"]
        assert reply.headers["retry-after"]
    thread.join(60)
    assert others == [200] * 4
    assert httpx.get(f"{address}/healthz").json()["running"] == 0


def test_several_answers_end_together_when_one_fails(address):
    assert ask(address, ["河流", "古桥", "公司"]).status_code == 503
    assert httpx.get(f"{address}/healthz").json() == {
        "status": "ok", "model": "tiny", "running": 0, "waiting": 0,
    }  # fmt: skip


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(TOO_MUCH), RuntimeError("a bug")])
def test_a_stream_ends_with_the_error(tiny_engine, token, error):
    with failing_at(token, error), server_of(tiny_engine) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        texts = []
        with pytest.raises(openai.APIError) as raised:
            for chunk in client.completions.create(
                model="tiny", prompt="河流", stream=True, max_tokens=30,
                extra_body={"guided_choice": ["河流河流古桥"]},
            ):  # fmt: skip
                texts.append(chunk.choices[0].text)
        assert "".join(texts).startswith("河流河流")
        assert raised.value.code == "backend_failed"
        assert ask(address, "河流", guided_choice=["河流"]).status_code == 200
