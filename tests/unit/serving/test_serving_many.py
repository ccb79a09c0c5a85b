"""Many clients at once, in every way of asking: each gets the answer to its own question."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx

from hanlin.inference.engine import Sampling

TEXTS = ["河流穿过古城", "这本书是谁写的？", "The teacher", "Who wrote", "灯、钟和纸", "1912"]
CLIENTS, ROUNDS = 8, 4


def ask(client, prompt, *, seed, streams):
    body = {
        "prompt": prompt, "max_tokens": 24, "temperature": 1.0, "seed": seed, "stream": streams,
    }  # fmt: skip
    reply = client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    if not streams:
        return reply.json()["choices"][0]["text"]
    events = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    return "".join(json.loads(event)["choices"][0]["text"] for event in events[:-1])


def test_each_client_gets_its_own_answer(server, tiny_engine):
    tokenizer = tiny_engine.tokenizer

    def talk(number):
        found = []
        with httpx.Client(base_url=server.address, timeout=120) as client:
            for turn in range(ROUNDS):
                text = f"{TEXTS[(number + turn) % len(TEXTS)]}{number}"
                seed = number * ROUNDS + turn
                found.append((text, seed, ask(client, text, seed=seed, streams=bool(seed % 2))))
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = [one for some in pool.map(talk, range(CLIENTS)) for one in some]
    assert len(found) == CLIENTS * ROUNDS
    for text, seed, answer in found:
        prompt = [tokenizer.bos_id, *tokenizer.encode(text, at_start=True)]
        sampling = Sampling(max_new_tokens=24, temperature=1.0, seed=seed)
        assert answer == tiny_engine.generate([prompt], sampling)[0].text


def test_many_prompts_and_choices_of_one_request_keep_their_order(server, tiny_engine):
    body = {"prompt": TEXTS, "n": 2, "max_tokens": 8, "temperature": 1.0, "seed": 7}
    reply = httpx.post(f"{server.address}/v1/completions", json=body, timeout=60).json()
    assert [choice["index"] for choice in reply["choices"]] == list(range(2 * len(TEXTS)))
    tokenizer = tiny_engine.tokenizer
    prompts = [[tokenizer.bos_id, *tokenizer.encode(text, at_start=True)] for text in TEXTS]
    sampling = Sampling(max_new_tokens=8, temperature=1.0, seed=7)
    expected = [tiny_engine.generate([prompt], sampling)[0].text for prompt in prompts]
    assert [choice["text"] for choice in reply["choices"][::2]] == expected
