"""What do streaming, beams, grammars and company cost a model in PyTorch?

    python benchmarks/decoding.py TOKENIZER

TOKENIZER is a folder or file with a large vocabulary (LLaMA's 32,000 pieces). A random LLaMA of
about 90 M parameters answers in float32: by transformers' own `generate` and by our streamed
events in turn, with and without a grammar, and 4 requests alone and together.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ |= {"HF_HUB_OFFLINE": "1"}

import torch

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.core.records import Grammar
from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.inference.constraint import Constraints
from hanlin.inference.engine import Sampling
from hanlin.inference.scheduler import Scheduler
from hanlin.models.load import load_model
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, new_llama
from hanlin.tokenization.load import load as load_tokenizer

NEW, ROUNDS, REQUESTS = 12, 3, 4
RESULT = Path(__file__).parent / "results" / "decoding.json"
SHAPE = Architecture(hidden_size=768, layers=6, heads=12, max_length=1024)
ENTITY = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "kind": {"enum": ["人物", "组织", "地点", "作品", "时间", "work of art"]},
    },
    "required": ["text", "kind"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "entities": {"type": "array", "items": ENTITY},
        "facts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "subject": {"type": "string"},
                    "relation": {"enum": ["作者", "成立时间", "出生地", "founded by"]},
                    "object": {"type": "string"},
                },
                "required": ["subject", "relation", "object"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["entities", "facts"],
    "additionalProperties": False,
}
TEXT = "《呐喊》是鲁迅的短篇小说集，1923年由北京新潮社出版。 "


def in_turn(ways: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Return tokens per second of each way: the median of rounds taken in turn."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()
    for _ in range(ROUNDS):
        for name, run in ways.items():
            started = time.perf_counter()
            count = run()
            rates[name].append(count / (time.perf_counter() - started))
    return {name: round(median(values), 2) for name, values in rates.items()}


def measure_peers(engine: TransformersEngine, folder: Path, prompt: list[int]) -> dict[str, float]:
    """Return tokens per second of `generate` and of ours, greedy and with 4 beams."""
    model = load_model(folder)
    ids = torch.tensor([prompt])

    def theirs(num_beams: int) -> int:
        with torch.inference_mode():
            output = model.generate(
                ids, max_new_tokens=NEW, do_sample=False, num_beams=num_beams, pad_token_id=0
            )
        return output.shape[1] - len(prompt)

    def ours(num_beams: int) -> int:
        *_, last = engine.events(prompt, Sampling(max_new_tokens=NEW, num_beams=num_beams))
        assert last.generation is not None
        return len(last.generation.ids)

    return in_turn(
        {
            "greedy, transformers": lambda: theirs(1),
            "greedy, streamed": lambda: ours(1),
            "4 beams, transformers": lambda: theirs(4),
            "4 beams, streamed": lambda: ours(4),
        }
    )


def measure_grammar(engine: TransformersEngine, prompt: list[int]) -> dict[str, float]:
    """Return tokens per second with and without a grammar, and the seconds to compile it."""
    grammar = Grammar("json_schema", json.dumps(SCHEMA))

    def run(grammar: Grammar | None) -> int:
        sampling = Sampling(max_new_tokens=NEW, temperature=1.0, grammar=grammar)
        return len(engine.generate([prompt], sampling)[0].ids)

    rates = in_turn({"sampled": lambda: run(None), "sampled, schema": lambda: run(grammar)})
    constraints = Constraints(engine.tokenizer)
    started = time.perf_counter()
    constraint = constraints.open(grammar)
    rates["schema compiled, s"] = round(time.perf_counter() - started, 4)
    for token in engine.tokenizer.encode('{"entities":[{"text":"鲁迅', at_start=False):
        constraint.advance(token)
    started = time.perf_counter()
    for _ in range(100):
        constraint.allowed([engine.tokenizer.eos_id])
    rates["one mask, ms"] = round((time.perf_counter() - started) * 10, 3)
    return rates


def measure_company(engine: TransformersEngine, prompt: list[int]) -> dict[str, float]:
    """Return tokens per second of many requests, one after the other and together."""
    sampling = Sampling(max_new_tokens=NEW)
    prompts = [prompt[: len(prompt) - 5 * index] for index in range(REQUESTS)]

    def alone() -> int:
        return sum(len(engine.generate([each], sampling)[0].ids) for each in prompts)

    def together() -> int:
        with Scheduler(engine) as scheduler:
            tickets = [scheduler.submit(each, sampling) for each in prompts]
            last = [list(ticket.events())[-1].generation for ticket in tickets]
        return sum(len(generation.ids) for generation in last if generation is not None)

    return in_turn({f"{REQUESTS} one by one": alone, f"{REQUESTS} together": together})


def main() -> None:
    """Measure and write the results."""
    tokenizer = load_tokenizer(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        folder = save_model(new_llama(SHAPE, tokenizer.vocab_size, 0), tokenizer, Path(place) / "m")
        engine = TransformersEngine(str(folder))
        prompt = [tokenizer.bos_id or 1, *tokenizer.encode(TEXT, at_start=True)]
        rates = measure_peers(engine, folder, prompt)
        grammar = measure_grammar(engine, prompt)
        company = measure_company(engine, prompt)
    result = {
        "machine": environment.describe(),
        "model": {**SHAPE.model_dump(), "vocab_size": tokenizer.vocab_size, "dtype": "float32"},
        "prompt_tokens": len(prompt),
        "new_tokens": NEW,
        "tokens_per_s": {**rates, **grammar, **company},
        "ratios": {
            "greedy over transformers": rates["greedy, streamed"] / rates["greedy, transformers"],
            "4 beams over transformers": rates["4 beams, streamed"]
            / rates["4 beams, transformers"],
            "cost of the schema": grammar["sampled"] / grammar["sampled, schema"] - 1,
            "together over one by one": company[f"{REQUESTS} together"]
            / company[f"{REQUESTS} one by one"],
        },
    }
    write_json(RESULT, result)
    print(json.dumps(result["tokens_per_s"] | result["ratios"], indent=1))


if __name__ == "__main__":
    main()
