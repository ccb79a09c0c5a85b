"""Does the server stay right, and its memory flat, under many clients for minutes?

    python benchmarks/serving_load.py [SECONDS] [CLIENTS]

A tiny model is served by `hanlin serve` in a process of its own; clients ask it through loopback,
chat and completions, at once and as streams, and some leave in mid-stream. Each compares its answer
with the one that the model gave before, without a server. There is less room in the queue than
clients, so that some are told to wait (429). Questions where two tokens are next to equally likely
are left out: rounding, which depends on the company in a batch, may choose either.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

os.environ |= {"HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1"}

import httpx

from hanlin.core import environment
from hanlin.core.files import write_atomic, write_json
from hanlin.models.tiny import SAMPLE_TEXTS, make_tiny

if TYPE_CHECKING:
    from hanlin.inference.engine import Engine

SECONDS, CLIENTS, QUESTIONS = 300, 64, 256
MAX_TOKENS, MAX_RUNNING, MAX_WAITING = 24, 16, 40
LEAVES = 0.05  # share of requests whose client leaves in mid-stream
LEAST_MARGIN = 1e-3  # between the two most likely tokens, in nats
SCALE = 8  # of the tiny model's weights
WARM_UP = 0.2  # share of the time
RESULT = Path(__file__).parent / "results" / "serving_load.json"


@dataclass(frozen=True)
class Question:
    """A request, and what the model answers without a server."""

    path: str
    body: dict[str, Any]
    answer: str


@dataclass
class Seen:
    """What the clients saw."""

    outcomes: Counter[str] = field(default_factory=lambda: Counter(right=0, wrong=0))
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class EndedEarlyError(Exception):
    """Why a request has no answer, as it should be."""


def make_model(folder: Path) -> Path:
    """Return a tiny model whose answers depend on the whole question, not on its last token."""
    import torch

    from hanlin.models.load import load_pair
    from hanlin.models.save import save_model

    model, tokenizer = load_pair(make_tiny(folder / "base"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "embed" not in name:
                weight.mul_(SCALE)
    return save_model(model, tokenizer, folder / "tiny")


def make_questions(engine: Engine) -> list[Question]:
    """Return questions with answers of their own: no two alike, none that rounding can change."""
    random_ = random.Random(1)  # noqa: S311 - no secret
    found: dict[str, Question] = {}
    while len(found) < QUESTIONS:
        texts = [
            "".join(random_.choices("".join(SAMPLE_TEXTS), k=random_.randrange(4, 40)))
            for _ in range(QUESTIONS)
        ]
        for is_chat in (True, False):
            for question in answered(engine, texts[is_chat::2], is_chat=is_chat):
                found.setdefault(question.answer, question)
    return list(found.values())[:QUESTIONS]


def answered(engine: Engine, texts: list[str], *, is_chat: bool) -> list[Question]:
    """Return the questions whose answers are clear, with what the model says without a server."""
    from hanlin.core.records import Message
    from hanlin.inference.engine import Sampling
    from hanlin.prompts.encode import encode_prompt, stop_ids
    from hanlin.prompts.formats import get_format

    tokenizer, format = engine.tokenizer, get_format("plain")
    sampling = Sampling(MAX_TOKENS, top_logprobs=2)
    if is_chat:
        path, ends = "/v1/chat/completions", stop_ids(format, tokenizer)
        sampling = replace(sampling, stop=format.stop_strings, stop_ids=ends)
        bodies = [{"messages": [{"role": "user", "content": text}]} for text in texts]
        prompts = [
            encode_prompt([Message("user", text)], format=format, tokenizer=tokenizer)
            for text in texts
        ]
    else:
        path, begin = "/v1/completions", [tokenizer.bos_id or 0]
        bodies = [{"prompt": text} for text in texts]
        prompts = [[*begin, *tokenizer.encode(text, at_start=True)] for text in texts]
    questions = []
    for body, answer in zip(bodies, engine.generate(prompts, sampling), strict=True):
        margin = min((t.top[0][2] - t.top[1][2] for t in answer.logprobs), default=0.0)
        text = answer.text.lstrip() if is_chat else answer.text
        if margin >= LEAST_MARGIN and text:
            asked = {**body, "max_tokens": MAX_TOKENS, "temperature": 0}
            questions.append(Question(path, asked, text))
    return questions


async def ask(client: httpx.AsyncClient, question: Question, random_: random.Random) -> str:
    """Return the answer.

    Raises:
        EndedEarlyError: the client left, or was told to wait, which it did.
    """
    if random_.random() < 0.5:
        reply = await client.post(question.path, json=question.body)
        await wait_if_told(reply, random_)
        [choice] = reply.raise_for_status().json()["choices"]
        return str(choice["text"] if "text" in choice else choice["message"]["content"])
    leaves_at = random_.randrange(1, 12) if random_.random() < LEAVES else 10**9
    body = {**question.body, "stream": True}
    async with client.stream("POST", question.path, json=body) as reply:
        await wait_if_told(reply, random_)
        reply.raise_for_status()
        parts: list[str] = []
        async for line in reply.aiter_lines():
            if line == "data: [DONE]":
                return "".join(parts)
            if line:
                [choice] = json.loads(line.removeprefix("data: "))["choices"]
                parts.append(choice.get("text") or choice.get("delta", {}).get("content") or "")
            if len(parts) >= leaves_at:
                raise EndedEarlyError("left in mid-stream")
    raise ConnectionError("the stream ended without [DONE]")


async def wait_if_told(reply: httpx.Response, random_: random.Random) -> None:
    """Wait where the queue was full, a part of the time that the server asks for."""
    if reply.status_code == 429:
        await asyncio.sleep(float(reply.headers["retry-after"]) * random_.random())
        raise EndedEarlyError("told to wait (429)")


async def run_client(
    address: str, questions: list[Question], seen: Seen, number: int, end: float
) -> None:
    """Ask until the time is over."""
    random_ = random.Random(number)  # noqa: S311 - no secret
    async with httpx.AsyncClient(base_url=address, timeout=120) as client:
        while time.monotonic() < end:
            question = random_.choice(questions)
            started = time.monotonic()
            try:
                answer = await ask(client, question, random_)
            except EndedEarlyError as ended:
                seen.outcomes[str(ended)] += 1
                continue
            except (httpx.HTTPError, ConnectionError, KeyError, ValueError) as error:
                seen.outcomes[f"error: {type(error).__name__}"] += 1
                continue
            is_right = answer == question.answer
            seen.outcomes["right" if is_right else "wrong"] += 1
            seen.seconds.append(time.monotonic() - started)
            if not is_right:
                seen.wrong.append(f"{question.body}: {answer!r}, not {question.answer!r}")


async def watch_memory(process: int, end: float) -> list[float]:
    """Return the server's resident memory each second, in MiB."""
    curve = []
    while time.monotonic() < end:
        status = Path(f"/proc/{process}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
        curve.append(round(int(line.split()[1]) / 1024, 1))
        await asyncio.sleep(1)
    return curve


async def load(address: str, process: int, questions: list[Question], **how: int) -> dict[str, Any]:
    """Let the clients ask, and return what was seen."""
    seen, started = Seen(), time.monotonic()
    end = started + how["seconds"]
    clients = [
        run_client(address, questions, seen, number, end) for number in range(how["clients"])
    ]
    curve, *_ = await asyncio.gather(watch_memory(process, end), *clients)
    took = time.monotonic() - started
    async with httpx.AsyncClient(base_url=address) as client:
        text = (await client.get("/metrics")).text
        health = (await client.get("/healthz")).json()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    numbers = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
    statuses: Counter[str] = Counter()
    for name, value in numbers.items():
        if name.startswith("hanlin_requests_total"):
            statuses[name.split('status="')[1].split('"')[0]] += int(value)
    warm = curve[int(len(curve) * WARM_UP) :]
    tokens = numbers['hanlin_tokens_total{kind="completion"}']
    return {
        "clients": how["clients"],
        "seconds": round(took, 1),
        "outcomes": dict(sorted(seen.outcomes.items())),
        "statuses": dict(sorted(statuses.items())),
        "open_at_the_end": health["running"] + health["waiting"],
        "wrong": seen.wrong[:5],
        "answers_per_s": round(seen.outcomes["right"] / took, 1),
        "tokens_per_s": round(tokens / took, 1),
        "answer_seconds": {
            "median": round(median(seen.seconds), 3),
            "p95": round(quantiles(seen.seconds, n=20)[-1], 3),
            "max": round(max(seen.seconds), 3),
        },
        "memory_mib": {
            "after_warm_up": warm[0],
            "end": warm[-1],
            "max": max(warm),
            "growth": round(max(warm) / warm[0] - 1, 4),
            "each_10_s": curve[::10],
        },
    }


def main() -> None:
    """Serve, ask, write the result."""
    from hanlin.inference.engine import open_engine

    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else CLIENTS
    with tempfile.TemporaryDirectory() as name:
        model = make_model(Path(name))
        questions = make_questions(open_engine(str(model)))
        limits = ["--max-running", str(MAX_RUNNING), "--max-waiting", str(MAX_WAITING)]
        command = [sys.executable, "-m", "hanlin", "serve", str(model), "--port", "0", "--json"]
        with subprocess.Popen(
            [*command, *limits], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as server:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["address"]
            how = {"seconds": seconds, "clients": clients}
            result = asyncio.run(load(address, server.pid, questions, **how))
            server.terminate()
            result["exit_code"] = server.wait(60)
    write_json(RESULT, {"machine": environment.describe(), **result})
    write_atomic(RESULT.with_suffix(".md"), table(result).encode())
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """Return the result as a page."""
    memory, answers = result["memory_mib"], result["answer_seconds"]
    rows = [
        ("clients", result["clients"]),
        ("seconds", result["seconds"]),
        *result["outcomes"].items(),
        ("replies by status", ", ".join(f"{k}: {v}" for k, v in result["statuses"].items())),
        ("answers/s", result["answers_per_s"]),
        ("tokens/s", result["tokens_per_s"]),
        ("seconds of an answer, median / p95 / max", " / ".join(map(str, answers.values()))),
        ("memory after warm-up, MiB", memory["after_warm_up"]),
        ("memory at the end, MiB", memory["end"]),
        ("largest growth after warm-up", f"{memory['growth']:.2%}"),
        ("requests open at the end", result["open_at_the_end"]),
        ("exit code at SIGTERM", result["exit_code"]),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(["| what | value |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    main()
