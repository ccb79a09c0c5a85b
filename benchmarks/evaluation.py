"""How much faster are options scored than by lm-evaluation-harness, and with the same values?

    python benchmarks/evaluation.py DATA [SETTING...]    # DATA: the folder with eval/ceval, ...

The same questions, as the protocol writes them, go through lm-eval's own `hf` model and through
ours, `--model hanlin`, on one random model in float32: texts in, log-likelihoods out. lm-eval runs
at the better of two batch sizes. Beside it: how long the distinct tokens alone take in large matrix
products, the limit of any scorer. Needs lm_eval (extra `eval`). Whole subjects, but few: the
harness takes minutes for more. Settings that are not named keep their rows in the result.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from hanlin.core import environment
from hanlin.core.files import read_json, write_json
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.benchmarks import BENCHMARKS
from hanlin.evaluation.lm_eval_bridge import HanlinLM
from hanlin.inference.prefix import Work
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, new_llama
from hanlin.prompts.formats import FORMATS
from hanlin.tokenization.load import load
from hanlin.tokenization.train import train_sentencepiece

SUBJECTS, XIEZHI_QUESTIONS, VOCABULARY, CONTEXT = 3, 6, 16_000, 4096
CHARACTERS = 300_000  # of each corpus
BATCH_SIZES, PROBE, ROUNDS = (4, 16), 48, 3
RESULT = Path(__file__).parent / "results" / "evaluation.json"
Pair = tuple[str, str]


def exam(data: Path, name: str, *, by_text: bool) -> list[Pair]:
    """Return five-shot (prompt, answer): options are listed, their letter or text is scored."""
    folder = data / "eval" / name
    config = BenchmarkConfig(id=name, benchmark=name, data=str(folder), protocol="lm-eval")
    paper, protocol = BENCHMARKS.get(name).paper(config, subject(), 0)
    layout, pairs = protocol.layout, []
    names = sorted({question.subject for question in paper.questions})[:SUBJECTS]

    def asked(question: Any) -> str:  # noqa: ANN401
        return layout.ask(question, has_letters=True, is_chat=False, with_reasons=False)

    def choices(question: Any) -> Sequence[str]:  # noqa: ANN401
        return question.options if by_text else "ABCD"[: len(question.options)]

    for question in (q for q in paper.questions if q.subject in names):
        shots = [
            f"{asked(shot)}{layout.space}{choices(shot)[shot.answer]}"
            for shot in paper.shots(question)
        ]
        intro = protocol.intro.replace("{subject}", protocol.titles[question.subject])
        prompt = layout.text(intro, shots, asked(question))
        pairs += [(prompt, f"{layout.space}{choice}") for choice in choices(question)]
    return pairs


def xiezhi(data: Path, *, is_listed: bool) -> list[Pair]:
    """Return (prompt, option) of 50 options: as published, with all of them listed, or without."""
    config = BenchmarkConfig(id="x", benchmark="xiezhi", data=str(data / "eval/xiezhi"))
    paper, protocol = BENCHMARKS.get("xiezhi").paper(config, subject(), 0)
    layout, pairs = protocol.layout, []
    step = len(paper.questions) // XIEZHI_QUESTIONS
    for question in paper.questions[::step][:XIEZHI_QUESTIONS]:
        prompt = f"{question.question}\n答案："
        if is_listed:
            prompt = layout.text(
                protocol.intro, [],
                layout.ask(question, has_letters=False, is_chat=False, with_reasons=False),
            )  # fmt: skip
        pairs += [(prompt, f"{layout.space}{option}") for option in question.options]
    return pairs


def subject() -> Subject:
    """Return a stand-in for the model: questions and prompts do not depend on it."""
    return Subject("none", None, FORMATS.get("plain"))  # type: ignore[arg-type]


SETTINGS: dict[str, Callable[[Path], list[Pair]]] = {
    "ceval-5-letter": lambda data: exam(data, "ceval", by_text=False),
    "ceval-5-text": lambda data: exam(data, "ceval", by_text=True),
    "xiezhi-50": lambda data: xiezhi(data, is_listed=True),
    "xiezhi-50-unlisted": lambda data: xiezhi(data, is_listed=False),
    "cmmlu-5-letter": lambda data: exam(data, "cmmlu", by_text=False),
    "mmlu-5-letter": lambda data: exam(data, "mmlu", by_text=False),
}


def make_model(data: Path, folder: Path) -> None:
    """Write a random LLaMA of about 20 M parameters with a tokenizer trained on other texts."""
    train_sentencepiece(corpus(data / "corpus"), vocab_size=VOCABULARY, out=folder)
    tokenizer = load(folder)
    shape = Architecture(
        hidden_size=384, intermediate_size=1024, layers=8, heads=6, max_length=CONTEXT,
        tie_embeddings=True,
    )  # fmt: skip
    save_model(new_llama(shape, tokenizer.vocab_size, 0), tokenizer, folder)


def corpus(folder: Path) -> Iterator[str]:
    """Yield some Chinese and English texts."""
    for name in ("wikipedia_zh_extracts.jsonl", "laws_zh.jsonl"):
        used = 0
        with (folder / name).open(encoding="utf-8") as lines:
            while used < CHARACTERS:
                yield (text := json.loads(next(lines))["text"])
                used += len(text)
    yield (folder / "en_wiki_demo.txt").read_text(encoding="utf-8")[:CHARACTERS]


class Sides:
    """The two scorers of one model folder."""

    def __init__(self, folder: Path) -> None:
        self.hanlin = HanlinLM(str(folder))
        self.harness = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=1)
        self.engine: Any = self.hanlin._engine

    def ours(self, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
        """Score with shared prefixes."""
        self.engine.work = Work()
        return self.hanlin.loglikelihood(requests_of(pairs), disable_tqdm=True)

    def theirs(self, pairs: Sequence[Pair], batch_size: int) -> list[tuple[float, bool]]:
        """Score with lm-eval's `hf` model."""
        self.harness.batch_size_per_gpu = batch_size
        return self.harness.loglikelihood(requests_of(pairs), disable_tqdm=True)

    def limit(self, tokens: int) -> float:
        """Return the seconds of so many tokens in the largest rows, without attention over others.

        Rows of 64 tokens, 32 at once: all matrix products of the layers, next to no attention.
        """
        ids = torch.zeros((32, 64), dtype=torch.long)
        decoder = self.engine._model.get_decoder()
        with torch.inference_mode():
            times = []
            for _ in range(ROUNDS + 1):
                start = time.perf_counter()
                decoder(input_ids=ids, use_cache=False)
                times.append(time.perf_counter() - start)
        return min(times[1:]) * tokens / ids.numel()


def requests_of(pairs: Sequence[Pair]) -> list[Any]:
    """Return what lm-eval hands to a model."""
    return [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i)
        for i, pair in enumerate(pairs)
    ]


def measured(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return values, seconds and the growth of resident memory at its peak, in MB."""
    gc.collect()
    environment.reset_peak_memory()
    before = environment.peak_memory_bytes()
    start = time.perf_counter()
    values = run()
    seconds = time.perf_counter() - start
    return values, seconds, (environment.peak_memory_bytes() - before) / 1e6


def compare(sides: Sides, pairs: list[Pair]) -> dict[str, Any]:
    """Return one row of the result: ours, lm-eval, ours again."""
    sides.ours(pairs[:PROBE])  # warm
    ours, first, memory = measured(lambda: sides.ours(pairs))  # before the harness grows the heap
    work = sides.engine.work
    step = max(1, len(pairs) // PROBE)
    probe = pairs[::step][:PROBE]
    batch_size = min(BATCH_SIZES, key=lambda size: measured(lambda: sides.theirs(probe, size))[1])
    theirs, seconds, their_memory = measured(lambda: sides.theirs(pairs, batch_size))
    again = [measured(lambda: sides.ours(pairs))[1] for _ in range(ROUNDS - 1)]
    mean = (first + sum(again)) / ROUNDS
    return {
        "requests": len(pairs),
        "hanlin_seconds": round(mean, 2),
        "lm_eval_seconds": round(seconds, 2),
        "lm_eval_batch_size": batch_size,
        "times_as_fast": round(seconds / mean, 1),
        "largest_difference": max(abs(a[0] - b[0]) for a, b in zip(ours, theirs, strict=True)),
        "different_greedy": sum(a[1] != b[1] for a, b in zip(ours, theirs, strict=True)),
        "distinct_tokens": work.distinct,
        "computed_over_distinct": round(work.computed / work.distinct, 4),
        "limit_seconds": round(sides.limit(work.distinct), 2),
        "hanlin_extra_peak_mb": round(memory),
        "lm_eval_extra_peak_mb": round(their_memory),
    }


def as_markdown(result: dict[str, Any]) -> str:
    """Return the result as a table."""
    columns = list(next(iter(result["settings"].values())))
    lines = [f"| setting | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in result["settings"].items():
        lines.append(f"| {name} | {' | '.join(str(row[column]) for column in columns)} |")
    about = f"{result['parameters']} parameters, float32; {result['environment']}"
    title = "# Scoring options: Hanlin and lm-evaluation-harness"
    return "\n\n".join([title, about, "\n".join(lines)]) + "\n"


def main() -> None:
    """Measure and write benchmarks/results/evaluation.json and .md after each setting."""
    data, names = Path(sys.argv[1]), sys.argv[2:] or list(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        make_model(data, Path(folder))
        sides = Sides(Path(folder))
        for name in names:
            row = compare(sides, SETTINGS[name](data))
            sys.stdout.write(f"{name}: {row}\n")
            sys.stdout.flush()
            keep(name, row, sides)


def keep(name: str, row: dict[str, Any], sides: Sides) -> None:
    """Write a row beside those that are there."""
    rows = read_json(RESULT)["settings"] if RESULT.is_file() else {}
    rows[name] = row
    result = {
        "environment": {**environment.describe(), "threads": str(torch.get_num_threads())},
        "parameters": sum(p.numel() for p in sides.engine._model.parameters()),
        "subjects": SUBJECTS,
        "settings": {name: rows[name] for name in SETTINGS if name in rows},
    }
    write_json(RESULT, result)
    RESULT.with_suffix(".md").write_text(as_markdown(result), encoding="utf-8")


if __name__ == "__main__":
    main()
