"""KnowLM's published curl commands get KnowLM's published replies; the other small paths too."""

import json
import shutil
import subprocess

import httpx
import pytest

from hanlin.core.records import Message
from hanlin.inference.engine import Sampling
from hanlin.prompts.encode import encode_prompt, stop_ids
from hanlin.prompts.formats import get_format

PLAIN = get_format("plain")
# As KnowLM's README has it, but for the port.
BODY = '{"instruction": "你好", "input": "", "parameters": {"top_p": 0.7, "max_tokens": 256}}'


def curl(*arguments):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(["curl", "-s", *arguments], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_the_published_request_gets_the_published_shape(server):
    reply = curl(
        "-X", "POST", f"{server.address}/generate", "-H", "Content-Type: application/json",
        "-d", BODY,
    )  # fmt: skip
    assert list(reply) == ["generated_text", "num_output_tokens_cf", "error"]
    assert isinstance(reply["generated_text"], str) and reply["error"] is None
    assert 1 <= reply["num_output_tokens_cf"] <= 256
    assert curl(f"{server.address}/is_ready") is True


def test_an_instruction_stands_in_the_models_prompt(server, tiny_engine):
    body = {
        "instruction": "翻译", "input": "古城", "parameters": {"temperature": 0, "max_tokens": 9},
    }  # fmt: skip
    reply = httpx.post(f"{server.address}/generate", json=body).json()
    question = Message("user", "翻译\n古城", input_at=3)
    prompt = encode_prompt([question], format=PLAIN, tokenizer=tiny_engine.tokenizer)
    ends = stop_ids(PLAIN, tiny_engine.tokenizer)
    sampling = Sampling(max_new_tokens=9, stop=PLAIN.stop_strings, stop_ids=ends)
    expected = tiny_engine.generate([prompt], sampling)[0]
    assert reply["generated_text"] == expected.text.lstrip()
    assert reply["num_output_tokens_cf"] == len(expected.ids)


def test_an_answer_that_the_model_ended_has_its_end_token(server):
    """A token in about 400 ends an answer at this temperature; none in 16,000 is no chance."""
    body = {"instruction": "你好", "input": "", "parameters": {"temperature": 3, "max_tokens": 400}}
    replies = (httpx.post(f"{server.address}/generate", json=body).json() for _ in range(40))
    ended = next(reply for reply in replies if reply["num_output_tokens_cf"] < 400)
    assert ended["generated_text"].endswith("</s>")


@pytest.mark.parametrize("missing", ["instruction", "input", "parameters"])
def test_all_three_keys_are_needed(server, missing):
    body = json.loads(BODY)
    del body[missing]
    reply = httpx.post(f"{server.address}/generate", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == missing


def test_health_and_numbers(server):
    assert httpx.get(f"{server.address}/healthz").json() == {
        "status": "ok", "model": "tiny", "running": 0, "waiting": 0,
    }  # fmt: skip
    httpx.post(f"{server.address}/generate", json=json.loads(BODY))
    text = httpx.get(f"{server.address}/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines['hanlin_requests_total{path="/generate",status="200"}']) >= 1
    assert float(lines['hanlin_tokens_total{kind="completion"}']) >= 1
    assert float(lines["hanlin_answers_running"]) == 0
    assert float(lines["hanlin_first_token_seconds_count"]) >= 1


def test_extraction_by_a_schema_in_the_body(server):
    schema = {"zh": {"entities": ["人物", "城镇"], "relations": {"出生地": ["人物", "城镇"]}}}
    texts = ["王明华出生在青石镇。", "李雪。"]
    body = {"text": texts, "schema": schema, "max_tokens": 8}
    reply = httpx.post(f"{server.address}/v1/extract", json=body).json()
    assert [row["text"] for row in reply["data"]] == texts
    for row in reply["data"]:
        assert row["language"] == "zh"
        for entity in row["entities"]:
            if entity["start"] is not None:
                assert row["text"][entity["start"] : entity["end"]] == entity["text"]


def test_extraction_held_to_the_text_finds_only_what_stands_there(server):
    text = "王明华出生在青石镇。"
    body = {
        "text": text, "schema": {"zh": {"entities": ["人物"]}}, "constrain": "text",
        "max_tokens": 60, "temperature": 1, "seed": 2,
    }  # fmt: skip
    reply = httpx.post(f"{server.address}/v1/extract", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    [row] = reply.json()["data"]
    for entity in row["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert entity["type"] == "人物"
    wrong = httpx.post(f"{server.address}/v1/extract", json={**body, "form": "verse"})
    assert wrong.status_code == 400
    assert "'verse'" in wrong.json()["error"]["message"]


@pytest.mark.parametrize(
    ("schema", "language", "status", "message"),
    [
        ("nothing", None, 404, "no schema 'nothing'"),
        ("../../etc/passwd", None, 404, "no schema"),
        ({}, None, 400, "names no language"),
        ({"zh": {"entities": ["a", "a"]}}, None, 400, "appears twice"),
        ({"zh": {"entities": ["a"]}, "en": {"entities": ["b"]}}, None, 400, "no language"),
        ({"zh": {"entities": ["a"]}}, "fr", 400, "no language 'fr'"),
    ],
)
def test_wrong_schemas(server, schema, language, status, message):
    body = {"text": "王明华", "schema": schema, "language": language, "max_tokens": 2}
    reply = httpx.post(f"{server.address}/v1/extract", json=body)
    assert reply.status_code == status
    assert message in reply.json()["error"]["message"]


def test_the_description_is_this_servers_own(server):
    description = httpx.get(f"{server.address}/openapi.json").json()
    model = description["components"]["schemas"]["ChatBody"]["properties"]["model"]
    assert model["anyOf"][0] == {"enum": ["tiny"]}
    assert "422" not in json.dumps(description)
    assert httpx.get(f"{server.address}/docs").status_code == 404  # its page loads from elsewhere
