"""How much faster are options scored than by lm-evaluation-harness, and with the same values?

    python benchmarks/evaluation.py DATA      # DATA: the folder with eval/ceval and eval/xiezhi

The same prompts, as lm-eval makes them for C-Eval, go through lm-eval's `hf` backend and through
`inference.prefix`, on one random model in float32. lm-eval runs at the better of two batch sizes.
Needs lm_eval (extra `eval`). A few whole subjects only: the harness takes minutes for more.
"""

from __future__ import annotations

import csv
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.inference.prefix import Work, score_requests

SUBJECTS, XIEZHI_QUESTIONS, SHOTS, VOCABULARY = 2, 12, 5, 16_000
BATCH_SIZES, PROBE = (4, 16), 48
RESULT = Path(__file__).parent / "results" / "evaluation.json"
SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
Pair = tuple[str, str]


def rows_of(file: Path) -> list[dict[str, str]]:
    """Return the rows of a C-Eval file."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def asked(row: dict[str, str]) -> str:
    """Return a question as lm-eval's C-Eval task puts it."""
    options = "\n".join(f"{letter}. {row[letter]}" for letter in "ABCD")
    return f"{row['question'].strip()}\n{options}\n答案："


def ceval(data: Path, *, by: str) -> list[Pair]:
    """Return five-shot (prompt, answer) of the first subjects: letters or options' texts."""
    pairs = []
    for file in sorted((data / "eval/ceval/val").glob("*.csv"))[:SUBJECTS]:
        name = file.stem.removesuffix("_val")
        intro = f"以下是中国关于{name}的单项选择题，请选出其中的正确答案。\n\n"
        dev = rows_of(data / f"eval/ceval/dev/{name}_dev.csv")[:SHOTS]
        shots = "".join(f"{asked(row)} {answer(row, row['answer'], by)}\n\n" for row in dev)
        for row in rows_of(file):
            prompt = f"{intro}{shots}{asked(row)}"
            pairs += [(prompt, f" {answer(row, letter, by)}") for letter in "ABCD"]
    return pairs


def answer(row: dict[str, str], letter: str, by: str) -> str:
    """Return what is scored of an option."""
    return letter if by == "letter" else row[letter]


def xiezhi(data: Path) -> list[Pair]:
    """Return zero-shot (prompt, option): the answers of the 49 questions after it are options."""
    with (data / "eval/xiezhi/xiezhi_spec_chn.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(400), lines, strict=False)]
    answers = list(dict.fromkeys(row["answer"] for row in rows))
    pairs = []
    for number, row in enumerate(rows[:XIEZHI_QUESTIONS]):
        others = [text for text in answers[number:] if text != row["answer"]][:49]
        prompt = f"{row['question']}\n答案："
        pairs += [(prompt, f" {option}") for option in [row["answer"], *others]]
    return pairs


def make_tokenizer(texts: Sequence[str]) -> Any:  # noqa: ANN401
    """Return a byte-level BPE tokenizer trained on the prompts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL.values()), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def make_model() -> Any:  # noqa: ANN401
    """Return a random LLaMA of about 20 M parameters."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=384, intermediate_size=1024, num_hidden_layers=8,
        num_attention_heads=6, max_position_embeddings=4096, tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


class Sides:
    """The two scorers over one model."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401
        from lm_eval.models.huggingface import HFLM

        self.model = make_model()
        self.harness = HFLM(pretrained=self.model, tokenizer=tokenizer, batch_size=1)
        self.work = Work()

    def ours(self, pairs: Sequence[Pair]) -> list[float]:
        """Score with shared prefixes; the harness cuts the pairs into tokens."""
        requests = [self.harness._encode_pair(*pair) for pair in pairs]
        self.work = Work()
        return score_requests(self.model, requests, max_length=4096, work=self.work)

    def theirs(self, pairs: Sequence[Pair], batch_size: int) -> list[float]:
        """Score with lm-eval's `hf` backend."""
        from lm_eval.api.instance import Instance

        self.harness.batch_size_per_gpu = batch_size
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i)
            for i, pair in enumerate(pairs)
        ]
        return [value for value, _ in self.harness.loglikelihood(requests, disable_tqdm=True)]


def measured(run: Callable[[], list[float]]) -> tuple[list[float], float, float]:
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
    ours, first, memory = measured(lambda: sides.ours(pairs))  # before the harness grows the heap
    probe = pairs[:PROBE]
    batch_size = min(BATCH_SIZES, key=lambda size: measured(lambda: sides.theirs(probe, size))[1])
    theirs, seconds, their_memory = measured(lambda: sides.theirs(pairs, batch_size))
    _, again, _ = measured(lambda: sides.ours(pairs))
    differences = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    return {
        "requests": len(pairs),
        "hanlin_seconds": round((first + again) / 2, 2),
        "lm_eval_seconds": round(seconds, 2),
        "lm_eval_batch_size": batch_size,
        "times_as_fast": round(seconds / ((first + again) / 2), 1),
        "largest_difference": max(differences),
        "computed_over_distinct": round(sides.work.computed / sides.work.distinct, 4),
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
    return (
        "# Scoring options: Hanlin and lm-evaluation-harness\n\n"
        + about
        + "\n\n"
        + "\n".join(lines)
        + "\n"
    )


def main() -> None:
    """Measure and write benchmarks/results/evaluation.json and .md."""
    data = Path(sys.argv[1])
    settings = {
        "ceval-5-letter": ceval(data, by="letter"),
        "ceval-5-text": ceval(data, by="text"),
        "xiezhi-50": xiezhi(data),
    }
    texts = [text for pairs in settings.values() for pair in pairs[::4] for text in pair]
    sides = Sides(make_tokenizer(texts))
    sides.ours(settings["xiezhi-50"][:100])  # warm
    result: dict[str, Any] = {
        "environment": environment.describe(),
        "parameters": sum(p.numel() for p in sides.model.parameters()),
        "subjects": SUBJECTS,
        "settings": {},
    }
    for name, pairs in settings.items():
        result["settings"][name] = compare(sides, pairs)
        sys.stdout.write(f"{name}: {result['settings'][name]}\n")
        sys.stdout.flush()
    write_json(RESULT, result)
    RESULT.with_suffix(".md").write_text(as_markdown(result), encoding="utf-8")


if __name__ == "__main__":
    main()
