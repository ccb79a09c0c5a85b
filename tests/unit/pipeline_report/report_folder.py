"""A run's folder of the real shape, small, with texts that nobody would wish for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

HOSTILE = '</style><script>alert(1)</script><img src=x onerror="alert(2)">'
LONG_WORD = "Donaudampfschiffahrt" * 40
STAGES = [
    ("world", "sample-world", 3.1, 210_000_000),
    ("base", "base", 61.25, 815_000_000),
    ("tokenizer", "extend-tokenizer", 4.4, 260_000_000),
    ("pretrain", "pretrain", 92.0, 905_000_000),
    ("finetune", "finetune", 75.5, 940_000_000),
    ("evaluate", "evaluate", 31.7, 760_000_000),
    ("export", "export", 6.3, 420_000_000),
]
OUTPUTS = {
    "world": [("corpus", "corpus", "corpus"), ("chat", "conversations", "chat.jsonl")],
    "base": [("model", "model", "model")],
    "tokenizer": [
        ("tokenizer", "tokenizer", "tokenizer"),
        ("fertility", "fertility", "fertility.json"),
    ],
    "pretrain": [("model", "model", "model")],
    "finetune": [("adapter", "adapter", "adapter")],
    "evaluate": [("scores", "scores", "scores.json")],
    "export": [("gguf", "gguf", "gguf")],
}


def score(value: float | None, half: float | None, n: int) -> dict[str, Any]:
    if half is None or value is None:
        return {"value": value, "low": None, "high": None, "n": n}
    return {"value": value, "low": value - half, "high": value + half, "n": n}


def row(
    benchmark: str, label: str, language: str, metric: str, chance: float | None, *scores: Any
) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "label": label,
        "language": language,
        "metric": metric,
        "higher_is_better": metric in ("accuracy", "mrr", "f1"),
        "chance": chance,
        "scores": dict(zip(("before", "after"), scores, strict=False)),
    }


def scores() -> dict[str, Any]:
    return {
        "version": 1,
        "models": ["before", "after"],
        "rows": [
            row("four-zh", "Four options", "zh", "accuracy", 0.25,
                score(0.2625, 0.05, 240), score(0.9416, 0.031, 240)),
            row("four-en", "Four options", "en", "accuracy", 0.25,
                score(0.7541, 0.054, 240), score(0.7583, 0.052, 240)),
            row("fifty-zh", "Fifty options", "zh", "mrr", 0.08998,
                score(0.0931, 0.02, 120), score(0.8127, 0.061, 120)),
            row("bpb-zh", "Unseen texts", "zh", "bits_per_byte", None,
                score(3.4127, 0.1, 80), score(0.9173, 0.05, 80)),
            row("bpb-en", "Unseen texts", "en", "bits_per_byte", None,
                score(0.8311, 0.03, 80), score(0.8713, 0.03, 80)),
            row("tpc-zh", "Unseen texts", "zh", "tokens_per_character", None,
                score(2.914, None, 80), score(0.713, None, 80)),
            row("tpc-en", "Unseen texts", "en", "tokens_per_character", None,
                score(0.2913, None, 80), score(0.2913, None, 80)),
            row("extract", "Extraction", "zh", "f1", None,
                score(0.0, 0.0, 60), score(0.6337, 0.07, 60)),
        ],
        "dialogues": [
            {"language": "zh", "prompt": "梅若溪出生在哪里？", "before": "the the the of",
             "after": "梅若溪出生在云溪镇。😀"},
            {"language": "en", "prompt": f"Say {HOSTILE}", "before": HOSTILE, "after": LONG_WORD},
            {"language": "zh", "prompt": "多轮\n对话", "before": "", "after": "\u202e反\x00\ud800"},
        ],
        "extractions": [extraction(), hostile_extraction()],
    }  # fmt: skip


def extraction() -> dict[str, Any]:
    text = "梅若溪1975年出生于云溪镇，后来在青石公司工作。"
    return {
        "text": text,
        "language": "zh",
        "entities": [
            {"text": "梅若溪", "type": "人物", "start": 0, "end": 3, "status": "exact"},
            {"text": "云溪镇", "type": "城镇", "start": 11, "end": 14, "status": "exact"},
            {"text": "镇", "type": "地点", "start": 13, "end": 14, "status": "exact"},
            {"text": "白塔", "type": "城镇", "start": None, "end": None, "status": "not found"},
        ],
        "relations": [{"type": "出生地", "head": 0, "tail": 1}],
        "events": [
            {"type": "出生", "trigger": {"text": "出生于", "start": 8, "end": 11},
             "arguments": [{"role": "人", "entity": 0}]}
        ],
        "gold": {
            "entities": [
                {"text": "梅若溪", "type": "人物", "start": 0, "end": 3},
                {"text": "云溪镇", "type": "城镇", "start": 11, "end": 14},
                {"text": "青石公司", "type": "公司", "start": 18, "end": 22},
            ],
            "relations": [{"type": "出生地", "head": 0, "tail": 1}],
            "events": [],
        },
    }  # fmt: skip


def hostile_extraction() -> dict[str, Any]:
    return {
        "text": HOSTILE,
        "language": '"><script>',
        "entities": [
            {"text": "script", "type": HOSTILE, "start": 2, "end": 9, "status": "<b>"},
            {"text": "beyond", "type": "T", "start": 5, "end": 9999, "status": "exact"},
        ],
        "relations": [{"type": "<r>", "head": 99, "tail": "<tail>"}],
        "events": [],
    }


def events(until: str = "") -> list[dict[str, Any]]:
    clock = 1_795_000_000.0
    lines: list[dict[str, Any]] = [{"t": clock, "event": "run_started", "name": "quickstart"}]
    for id_, _, seconds, peak in STAGES:
        lines.append({"t": clock, "event": "stage_started", "stage": id_})
        if id_ in ("base", "pretrain", "finetune"):
            lines += training(id_, clock)
        clock += seconds
        if id_ == until:
            return lines
        lines.append({"t": clock, "event": "stage_finished", "stage": id_, "seconds": seconds,
                      "peak_bytes": peak})  # fmt: skip
    return [*lines, {"t": clock, "event": "run_finished", "name": "quickstart"}]


def training(id_: str, clock: float) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    start = {"base": 6.2, "pretrain": 5.1, "finetune": 2.3}[id_]
    for step in range(5, 605, 5):
        loss = 0.6 + (start - 0.6) * math.exp(-step / 130) + 0.06 * math.sin(step * 1.7)
        lines.append({"t": clock + step / 10, "event": "metric", "stage": id_, "step": step,
                      "loss": loss, "learning_rate": 1e-3, "tokens": step * 2048,
                      "tokens_per_s": 11800.0 + step % 37})  # fmt: skip
    if id_ == "pretrain":
        for step in range(0, 601, 100):
            for language, first, last in (("zh", 3.4127, 0.9173), ("en", 0.8311, 0.8713)):
                value = last + (first - last) * math.exp(-step / 120)
                lines.append({"t": clock, "event": "probe", "stage": id_, "step": step,
                              "language": language, "bits_per_byte": value})  # fmt: skip
    return lines


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_events(run_dir: Path, lines: list[dict[str, Any]], tail: str = "") -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run_dir / "events.jsonl").write_text(text + tail, encoding="utf-8")


def write_stage(run_dir: Path, id_: str, *, folder: str = "") -> Path:
    _, kind, seconds, peak = next(stage for stage in STAGES if stage[0] == id_)
    place = run_dir / (folder or id_)
    outputs = [
        {"name": name, "kind": kind_, "path": path, "sha256": f"{len(id_) + i:064x}",
         "size_bytes": 1_234_567 * (i + 1), "made_by": id_}
        for i, (name, kind_, path) in enumerate(OUTPUTS[id_])
    ]  # fmt: skip
    record = {
        "version": 1, "id": id_, "stage": kind, "fingerprint": "f" * 32, "inputs": {},
        "outputs": outputs, "seconds": seconds, "peak_bytes": peak,
        "environment": {"hanlin": "0.1.0", "python": "3.11.9", "torch": "2.13.0",
                        "processor": "Example CPU", "cpus": "2", "memory_gb": "4.0"},
    }  # fmt: skip
    write_json(place / "stage.json", record)
    return place


def write_run(
    run_dir: Path, *, name: str = "quickstart", until: str = "", given: dict[str, Any] | None = None
) -> Path:
    """Write a run that came to the end, or to `until`, which it did not finish."""
    write_json(run_dir / "run.json", {
        "version": 1, "name": name, "description": "From English only to Chinese as well.",
        "recipe": "quickstart.yaml", "seed": 17, "hanlin": "0.1.0",
        "stages": [{"id": id_, "stage": kind} for id_, kind, _, _ in STAGES],
    })  # fmt: skip
    recipe = "name: quickstart\nstages:\n  pretrain:\n    corpus: /home/somebody/secret/zh.txt\n"
    (run_dir / "recipe.yaml").write_text(recipe, encoding="utf-8")
    write_events(run_dir, events(until))
    for id_, *_ in STAGES:
        if id_ == until:
            break
        place = write_stage(run_dir, id_)
        if id_ == "evaluate":
            write_json(place / "scores.json", scores() if given is None else given)
        if id_ == "tokenizer":
            write_json(place / "fertility.json", FERTILITY)
        if id_ == "export":
            write_json(place / "gguf" / "checks.json", CHECKS)
    return run_dir


FERTILITY = {
    "en": {"before": {"tokens_per_character": 0.29}, "after": {"tokens_per_character": 0.28}},
    "zh": {"before": {"tokens_per_character": 2.91}, "after": {"tokens_per_character": 0.71}},
    "added": 612,
    "english_ids_changed": 0,
}
CHECKS = {
    "f16": {
        "size_bytes": 3_400_000,
        "token_ids_equal": True,
        "chat_ids_equal": True,
        "greedy_agreement": 1.0,
        "max_logprob_difference": 8.6e-06,
        "kept_f16": [],
    },
    "q8_0": {
        "size_bytes": 1_900_000,
        "token_ids_equal": True,
        "chat_ids_equal": False,
        "greedy_agreement": 0.9375,
        "max_logprob_difference": 0.0312,
        "kept_f16": ["<b>tensor</b>"],
    },
}
