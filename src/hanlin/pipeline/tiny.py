"""How is a recipe rehearsed in a minute? `--tiny`: a tiny base and small samples, fewer steps.

Every stage stays, with its kind, its method and its prompt; only sizes change. What the recipe's
`inputs` name is replaced by kind: a model by a tiny one of the same architecture that is made on
the spot, data by files of the sample world or of `recipes/samples`. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hanlin.pipeline.inputs import SAMPLE, Input

WORLD, CHAT = "tiny-world", "tiny-chat"
SEQ_LEN, STEPS, ROWS = 320, 4, 2
SCHEDULE = {
    "steps": STEPS, "seq_len": SEQ_LEN, "micro_batch_size": ROWS, "learning_rate": 1e-3,
    "save_every": STEPS, "log_every": 1, "threads": 1,
}  # fmt: skip
WORLD_FILES = {
    ("texts", None): "corpus/zh.jsonl",
    ("texts", "en"): "corpus/en.jsonl",
    ("conversations", None): "chat",
    ("examples", None): "extraction/train.jsonl",
    ("schema", None): "extraction/schema.yaml",
    ("graph", None): "graph",
    ("questions", None): "questions/four-zh.jsonl",
}
SAMPLES = {
    ("texts", "code"): "code.jsonl",
    ("instructions", None): "instructions.jsonl",
    ("ceval", None): "ceval",
    ("xiezhi", None): "xiezhi",
}
KEPT_SCHEDULE = (  # what the way of training is; all else of a schedule is its size
    "scheduler", "weight_decay", "betas", "max_grad_norm", "gradient_checkpointing",
    "neftune_alpha", "lora_plus_ratio", "min_learning_rate_ratio",
)  # fmt: skip
DROPPED = ("source_rows", "processes", "sharding", "trainer", "workers", "first_grown_row")
MOST: dict[str, int] = {  # of a number, wherever it stands in a stage
    "seq_len": SEQ_LEN,
    "rank": 8,
    "add": 200,
    "shots": 1,
    "options": 8,
    "limit": 8,
    "max_new_tokens": 16,
}
SHORT = {"limit": MOST["limit"], "max_new_tokens": MOST["max_new_tokens"]}  # of any benchmark


def rehearsal(
    stages: Mapping[str, Any], inputs: Mapping[str, Input]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the stages of a small rehearsal, and the path of each input in it.

    The stages still hold `@inputs/...`; those that make the samples stand before them.
    """
    before: dict[str, Any] = {}
    paths: dict[str, str] = {}
    for name, item in inputs.items():
        paths[name] = _sample(item, before)
    for name, item in inputs.items():
        if item.kind == "adapter":
            bases = [paths[other] for other, its in inputs.items() if its.kind == "model"]
            base = bases[0] if bases else _tiny_base(item.like, before)
            paths[name] = _tiny_adapter(base, _prompt_of(stages), before)
    return {**before, **{id_: _small(settings) for id_, settings in stages.items()}}, paths


def _sample(item: Input, before: dict[str, Any]) -> str:
    """Return where an input's sample is; add the stages that make it."""
    if item.kind in ("model", "adapter"):
        return _tiny_base(item.like, before)
    keys = [(item.kind, item.language), (item.kind, None)]
    sample = next((SAMPLES[key] for key in keys if key in SAMPLES), None)
    if sample is not None:
        return SAMPLE + sample
    _world(before)
    return f"@{WORLD}/{next(WORLD_FILES[key] for key in keys if key in WORLD_FILES)}"


def _world(before: dict[str, Any]) -> None:
    before[WORLD] = {
        "stage": "sample-world", "people": 12, "rounds": 6, "extraction_train": 40,
        "extraction_test": 6,
    }  # fmt: skip


def _tiny_base(like: str, before: dict[str, Any]) -> str:
    _world(before)
    id_ = f"tiny-{like}"
    shape = {"hidden_size": 64, "layers": 2, "heads": 4, "max_length": 1024}
    more: dict[str, Any] = {"vocab_size": 500}
    if like == "llama3":
        shape["kv_heads"] = 2
        more = {"tokenizer": f"{SAMPLE}byte-level-bpe"}
    before[id_] = {
        "stage": "base",
        "corpus": [f"@{WORLD}/corpus/en.jsonl"],
        "architecture": shape,
        "schedule": SCHEDULE,
        **more,
    }
    return f"@{id_}/model"


def _tiny_adapter(base: str, prompt: str, before: dict[str, Any]) -> str:
    """Make the adapter that an incremental recipe starts with."""
    before[CHAT] = {
        "stage": "prepare-chat", "tokenizer": base, "prompt": prompt, "seq_len": SEQ_LEN,
        "sources": [{"name": "earlier", "path": f"@{WORLD}/chat"}],
    }  # fmt: skip
    before["tiny-adapter"] = {
        "stage": "finetune", "model": base, "store": f"@{CHAT}/store", "lora": {"rank": 4},
        "schedule": SCHEDULE,
    }  # fmt: skip
    return "@tiny-adapter/adapter"


def _prompt_of(stages: Mapping[str, Any]) -> str:
    prompts = (settings.get("prompt") for settings in stages.values() if isinstance(settings, dict))
    return next(filter(None, prompts), "plain")


def _small(settings: Any) -> Any:  # noqa: ANN401 - what the file holds, right or wrong
    if not isinstance(settings, dict):
        return settings
    small = {key: value for key, value in settings.items() if key not in DROPPED}
    special: dict[str, Callable[[Any], Any]] = {
        "schedule": _small_schedule,
        "benchmarks": lambda rows: [_small(SHORT | row) for row in rows],
        "types": lambda types: types[:1],
        "lora": _small,
    }
    for key, value in small.items():
        if key in special and isinstance(value, dict | list):
            small[key] = special[key](value)
        elif key in MOST and isinstance(value, int):
            small[key] = min(value, MOST[key])
    return small


def _small_schedule(schedule: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schedule.items() if key in KEPT_SCHEDULE}
    return SCHEDULE | {"seq_len": min(SEQ_LEN, int(schedule.get("seq_len", SEQ_LEN)))} | kept
