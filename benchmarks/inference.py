"""How fast are answers, and what does Hanlin add to the engines under it?

    python benchmarks/inference.py [ROUNDS] [NEW_TOKENS]

One LLaMA of about 220 M random weights is made in a temporary folder. transformers' generate,
Hanlin on transformers, the bare llama.cpp binding and Hanlin on llama.cpp (f16, q8_0, q4_0) answer
the same prompts in turn, greedily, A B A B. Beside q4_0 stands the limit that the memory sets: a
token reads every weight once; how fast memory is read is measured in the same run.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # the latter as `hanlin` sets

import torch
import transformers
import xllamacpp
from gguf import GGUFReader

from hanlin.core import environment
from hanlin.core.files import write_atomic, write_json
from hanlin.inference.backends.llamacpp import LlamaCppEngine
from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.inference.engine import Engine, Sampling
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, new_llama
from hanlin.tokenization.load import load
from hanlin.tokenization.train import train_sentencepiece
from hanlin.weights.gguf.write import write_gguf

RESULTS = Path(__file__).parent / "results"
SHAPE = Architecture(
    hidden_size=1024, intermediate_size=2816, layers=16, heads=16, max_length=512
)  # fmt: skip
TYPES = ("f16", "q8_0", "q4_0")
PROMPT_TOKENS = 64
VOCABULARY = 8000
READ_BYTES = 1 << 29

Times = tuple[float, float]  # seconds to the first token, and to the last


@dataclass(frozen=True)
class Subject:
    """Something that answers: `run` takes a prompt and returns its times."""

    name: str
    run: Callable[[list[int]], Times]


def make_models(folder: Path) -> None:
    """Write the model and its GGUF files."""
    letters = [chr(0x4E00 + i) for i in range(VOCABULARY)]
    texts = ["".join(letters[i : i + 50]) for i in range(0, len(letters), 50)]
    train_sentencepiece(texts, vocab_size=VOCABULARY, out=folder / "hf", seed=0)
    tokenizer = load(folder / "hf")
    save_model(new_llama(SHAPE, tokenizer.vocab_size, 0), tokenizer, folder / "hf")
    for type in TYPES:
        write_gguf(folder / "hf", folder / f"{type}.gguf", type=type)


def time_parts(parts: Iterator[object]) -> Times:
    """Return when the first part came, and the last one."""
    started = time.perf_counter()
    next(parts)
    first = time.perf_counter() - started
    for _ in parts:
        pass
    return first, time.perf_counter() - started


def hanlin(engine: Engine, new_tokens: int) -> Callable[[list[int]], Times]:
    """Return what times an engine of Hanlin."""

    def run(prompt: list[int]) -> Times:
        events = list[Any]()

        def keep() -> Iterator[object]:
            for event in engine.events(prompt, Sampling(max_new_tokens=new_tokens)):
                events.append(event)
                yield event

        times = time_parts(keep())
        assert len(events[-1].generation.ids) == new_tokens, "the answer ended early"
        return times

    return run


def with_own_share(
    engine: LlamaCppEngine, new_tokens: int
) -> tuple[Callable[[list[int]], Times], list[float]]:
    """Return what times an engine, and a list that gets what Hanlin added to each answer.

    That is the time of an answer over the time that llama.cpp itself says it worked on it, so that
    what else the machine does changes neither much. Telling it costs time: such answers count for
    nothing else.
    """
    server, shares, run = engine._server, list[float](), hanlin(engine, new_tokens)
    stream = server.stream

    def noting(path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        worked[0] = 0.0
        for part in stream(path, {**body, "timings_per_token": True}):
            worked[0] = (part["timings"]["prompt_ms"] + part["timings"]["predicted_ms"]) / 1000
            yield part

    worked = [0.0]

    def timed(prompt: list[int]) -> Times:
        server.stream = noting
        try:
            times = run([prompt[0], prompt[1] + len(prompt), *prompt[2:]])  # not in its cache
        finally:
            server.stream = stream
        shares.append(times[1] / worked[0] - 1)
        return times

    return timed, shares


class Clock(transformers.generation.streamers.BaseStreamer):
    """Notes when tokens come."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """Take tokens: the prompt first."""
        self.at.append(time.perf_counter())

    def end(self) -> None:
        """Take the end."""


def bare_transformers(folder: Path, new_tokens: int) -> Callable[[list[int]], Times]:
    """Return what times transformers' own generate."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def run(prompt: list[int]) -> Times:
        clock, started = Clock(), time.perf_counter()
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens,
                min_new_tokens=new_tokens, do_sample=False, streamer=clock,
            )  # fmt: skip
        assert made.shape[1] == len(prompt) + new_tokens
        return clock.at[1] - started, clock.at[-1] - started

    return run


def bare_llamacpp(file: Path, new_tokens: int) -> Callable[[list[int]], Times]:
    """Return what times llama.cpp's binding in this process, with the settings of Hanlin's."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.verbosity, settings.n_ctx, settings.n_parallel = -1, SHAPE.max_length, 1
    settings.n_gpu_layers = settings.cache_ram_mib = 0
    settings.warmup = settings.ui = settings.fit_params = False
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    threads = environment.usable_cpus()
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(settings)

    def run(prompt: list[int]) -> Times:
        started, at = time.perf_counter(), list[float]()

        def take(_part: object) -> None:
            at.append(time.perf_counter() - started)

        body = {
            "prompt": prompt, "n_predict": new_tokens, "temperature": 0, "stream": True,
            "ignore_eos": True, "cache_prompt": False, "samplers": ["temperature"],
        }  # fmt: skip
        server.handle_completions(body, take)
        return at[0], time.perf_counter() - started

    return run


def read_speed() -> float:
    """Return how many bytes of memory all cores read in a second: the best of several sums."""
    block = torch.ones(READ_BYTES // 4)
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        block.sum()
        seconds.append(time.perf_counter() - started)
    return READ_BYTES / min(seconds)


def bytes_of_a_token(file: Path) -> int:
    """Return how many bytes of weights a token reads: all but the table of embeddings."""
    tensors = GGUFReader(str(file)).tensors
    return sum(int(t.n_bytes) for t in tensors if t.name != "token_embd.weight")


def measure(subjects: list[Subject], rounds: int) -> dict[str, list[Times]]:
    """Return the times of each round after one to warm up; in a round all have the same prompt."""
    found: dict[str, list[Times]] = {subject.name: [] for subject in subjects}
    for number in range(rounds + 1):
        # No two rounds begin alike: what was computed for one prompt helps no other.
        prompt = [1, 300 + number, *range(400 + number, 400 + number + PROMPT_TOKENS - 2)]
        for subject in subjects:
            times = subject.run(prompt)
            print(f"  {subject.name}: {times[1]:.2f} s", file=sys.stderr, flush=True)
            if number:
                found[subject.name].append(times)
    return found


def row(times: list[Times], new_tokens: int) -> dict[str, float]:
    """Return tokens a second behind the first one, and milliseconds to it."""
    speeds = [(new_tokens - 1) / (total - first) for first, total in times]
    return {
        "tokens_per_s": round(median(speeds), 2),
        "first_token_ms": round(1000 * median(first for first, _ in times), 1),
        "answer_s": round(median(total for _, total in times), 3),
    }


def cost(found: dict[str, list[Times]], ours: str, bare: str) -> float:
    """Return how much longer than the bare engine Hanlin takes for an answer, in percent.

    The median over the rounds: both answer right after each other there, so that what the machine
    does besides slows both.
    """
    rounds = zip(found[ours], found[bare], strict=True)
    return round(100 * (median(own / other for (_, own), (_, other) in rounds) - 1), 2)


def run_in(folder: Path, rounds: int, new_tokens: int) -> dict[str, Any]:
    """Make the model, measure everything, return the result."""
    make_models(folder)
    pairs = {"transformers": "generate of transformers"}
    subjects = [
        Subject(pairs["transformers"], bare_transformers(folder / "hf", new_tokens)),
        Subject(
            "Hanlin on transformers", hanlin(TransformersEngine(str(folder / "hf")), new_tokens)
        ),
    ]
    compared = {"Hanlin on transformers": subjects[0].name}
    found = measure(subjects, rounds)
    subjects.clear()  # frees the models
    own = {}
    for type in TYPES:
        file = folder / f"{type}.gguf"
        engine = LlamaCppEngine(str(file))
        run, shares = with_own_share(engine, new_tokens)
        bare, ours = f"bare llama.cpp {type}", f"Hanlin on llama.cpp {type}"
        subjects = [
            Subject(bare, bare_llamacpp(file, new_tokens)),
            Subject(ours, hanlin(engine, new_tokens)),
            Subject("(asked how long it worked)", run),
        ]
        compared[ours] = bare
        times = measure(subjects, rounds)
        found |= {name: times[name] for name in (bare, ours)}
        own[ours] = round(100 * median(shares[1:]), 2)
        engine.close()
    speed, weight = read_speed(), bytes_of_a_token(folder / "q4_0.gguf")
    rows = {name: row(times, new_tokens) for name, times in found.items()}
    best = rows["Hanlin on llama.cpp q4_0"]["tokens_per_s"]
    return {
        "machine": environment.describe(),
        "shape": {
            **SHAPE.model_dump(), "prompt_tokens": PROMPT_TOKENS, "new_tokens": new_tokens,
            "parameters_m": round(count_parameters(folder / "f16.gguf") / 1e6, 1),
            "rounds": rounds,
        },
        "rows": rows,
        "cost_percent": {ours: cost(found, ours, bare) for ours, bare in compared.items()},
        "own_percent": own,
        "memory": {
            "read_gb_per_s": round(speed / 1e9, 2),
            "q4_0_mb_per_token": round(weight / 1e6, 1),
            "limit_tokens_per_s": round(speed / weight, 1),
            "share_of_limit": round(best * weight / speed, 3),
        },
    }  # fmt: skip


def count_parameters(file: Path) -> int:
    """Return how many weights a file has."""
    return sum(int(tensor.n_elements) for tensor in GGUFReader(str(file)).tensors)


def page(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    shape, machine, memory = result["shape"], result["machine"], result["memory"]
    lines = [
        f"{shape['parameters_m']} M random weights, {shape['prompt_tokens']} tokens of prompt, "
        f"{shape['new_tokens']} new ones, greedy; {machine['processor']}, {machine['cpus']} cores. "
        "Made by `python benchmarks/inference.py`; medians of "
        f"{shape['rounds']} rounds, also of what Hanlin takes over the bare engine in a round.",
        "",
        "| engine | tokens/s | first token, ms | whole answer, s | over the bare engine | "
        "over llama.cpp's own count of the same answers |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        over, own = result["cost_percent"].get(name), result["own_percent"].get(name)
        lines.append(
            f"| {name} | {row['tokens_per_s']} | {row['first_token_ms']} | {row['answer_s']} | "
            f"{percent(over)} | {percent(own)} |"
        )
    lines += [
        "",
        f"Memory is read at {memory['read_gb_per_s']} GB/s; a token of q4_0 reads "
        f"{memory['q4_0_mb_per_token']} MB, so the limit is {memory['limit_tokens_per_s']} "
        f"tokens/s. Hanlin on llama.cpp reaches {memory['share_of_limit']:.0%} of it.",
    ]
    return "\n".join(lines) + "\n"


def percent(value: float | None) -> str:
    """Return a share with its sign, or nothing."""
    return "" if value is None else f"{value:+} %"


def main() -> None:
    """Run and write the result."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    new_tokens = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    with tempfile.TemporaryDirectory() as name:
        result = run_in(Path(name), rounds, new_tokens)
    write_json(RESULTS / "inference.json", result)
    write_atomic(RESULTS / "inference.md", page(result).encode())
    print(page(result))


if __name__ == "__main__":
    main()
