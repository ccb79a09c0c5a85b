"""How well does a small model learn CLUENER from nothing, beside a classic tagger in equal time?

    python benchmarks/cluener.py MINUTES [FOLDER]

The train split of the public data (HANLIN_DATA) becomes instructions in the form `lines`; a small
LLaMA is made of the same rows and tuned on them with Hanlin's own stages, in slices, until the
minutes are over. After each slice it extracts from the dev split: the learning curve. The
baseline is scikit-learn's linear classifier of characters with BIO tags (features of a window), on
the same rows, passing over them for as long. Both run side by side, one thread each. Minutes are of
processor time, so that other work on the machine takes nothing from either, without measuring;
nothing but the rows is learned from. Where PATIENCE times the minutes go by on the clock, the model
ends early, and the baseline counts up to where the model came.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hanlin.core import environment
from hanlin.core.config import InputPath, ModelPath
from hanlin.core.files import read_json, write_atomic, write_json, write_jsonl
from hanlin.data.prepare_chat import Config as ChatConfig
from hanlin.extraction.facts import Extraction, Mention
from hanlin.extraction.readers import read_set
from hanlin.extraction.readers.bio_tags import chunks
from hanlin.extraction.schema import load_schemas
from hanlin.extraction.scores import scores
from hanlin.inference.engine import open_engine
from hanlin.pipeline.extraction import Settings, open_extractor
from hanlin.pipeline.run import run_single
from hanlin.training.base import Config as BaseConfig
from hanlin.training.finetune import Config as TuneConfig

HERE = Path(__file__).parent
DATA = Path(os.environ.get("HANLIN_DATA", HERE.parent.parent / "shared" / "data"))
RESULT = HERE / "results" / "cluener.json"
REPORT = RESULT.with_suffix(".md")
INSTRUCTION = "抽取实体。"
SHAPE = {"hidden_size": 128, "layers": 4, "heads": 4, "max_length": 256, "tie_embeddings": True}
VOCAB_SIZE, SEQ_LEN, ROWS = 4000, 128, 16  # rows of a step
BASE_STEPS, SLICE_STEPS = 300, 200
LEARNING_RATE = 3e-3
SLICE_DEV = 200  # texts of the dev split that are measured after each slice; all at the end
SIDES = ("hanlin", "linear tagger")
PATIENCE = 3.0
ENOUGH = 1.15  # times as long as before, until the baseline is measured again


@dataclass
class Box:
    """Processor time that a side may use; what measuring takes is not counted."""

    seconds: float
    began: float = field(default_factory=time.process_time)
    began_on_the_clock: float = field(default_factory=time.monotonic)
    measuring: float = 0.0

    @property
    def taken(self) -> float:
        """Return the processor time that was used so far."""
        return time.process_time() - self.began - self.measuring

    @property
    def left(self) -> float:
        """Return what is left, by processor time and by the clock, whichever is less."""
        gone = time.monotonic() - self.began_on_the_clock
        busy = max(1.0, gone / max(self.taken + self.measuring, 1e-9))
        return min(self.seconds - self.taken, (PATIENCE * self.seconds - gone) / busy)

    @contextmanager
    def free(self) -> Iterator[None]:
        """Count nothing in here."""
        before = time.process_time()
        yield
        self.measuring += time.process_time() - before


def instruct(folder: Path) -> None:
    """Write the train split as conversations, and as texts for the base model.

    There each text is told twice with its answer between: to extract is to copy, which a model
    learns from texts that come again.
    """
    from hanlin.extraction.knowledge.instruct import conversation

    schema = load_schemas("cluener")["zh"].model_copy(update={"instruction": INSTRUCTION})
    examples = list(read_set(DATA / "ie" / "ner" / "cluener_train.jsonl"))
    rows = [conversation(one, schema) for one in examples]
    write_jsonl(folder / "chat.jsonl", rows)
    answers = [row["messages"][-1]["content"] for row in rows]
    told = (f"{e.text}\n{a}\n{e.text}" for e, a in zip(examples, answers, strict=True))
    write_jsonl(folder / "texts.jsonl", ({"text": text} for text in told))


def schedule(steps: int, scheduler: str) -> dict[str, Any]:
    """Return what all trainings here share."""
    return {
        "steps": steps, "seq_len": SEQ_LEN, "micro_batch_size": ROWS, "threads": 1,
        "learning_rate": LEARNING_RATE, "scheduler": scheduler, "warmup_steps": min(10, steps - 1),
        "min_learning_rate_ratio": 0.05, "save_every": 10_000,
    }  # fmt: skip


def prepare(folder: Path) -> None:
    """Make the base model of the texts, and the token store of the conversations."""
    base = BaseConfig.model_validate({
        "corpus": [InputPath(folder / "texts.jsonl")], "vocab_size": VOCAB_SIZE,
        "architecture": SHAPE, "schedule": schedule(BASE_STEPS, "constant"),
    })  # fmt: skip
    run_single("base", base, out=folder / "base", force=True)
    chat = ChatConfig.model_validate({
        "sources": [{"name": "cluener", "path": InputPath(folder / "chat.jsonl")}],
        "tokenizer": ModelPath(folder / "base"), "seq_len": SEQ_LEN,
    })  # fmt: skip
    run_single("prepare-chat", chat, out=folder / "store", force=True)


def tune(folder: Path, number: int, model: Path, *, steps: int, scheduler: str) -> Path:
    """Go on for a slice of steps, its rows in an order of their own."""
    config = TuneConfig.model_validate({
        "model": ModelPath(model), "store": InputPath(folder / "store"),
        "method": "full", "try_answers": 0, "schedule": schedule(steps, scheduler),
    })  # fmt: skip
    out = folder / f"tuned-{number}"
    run_single("finetune", config, out=out, seed=number, force=True)
    return out


def extracted(
    model: Path, given: Sequence[Extraction], constrain: Literal["off", "text"]
) -> list[Extraction]:
    """Extract with a model: held to nothing, or to its types and to parts of the text."""
    schemas = {"zh": load_schemas("cluener")["zh"].model_copy(update={"instruction": INSTRUCTION})}
    settings = Settings(max_new_tokens=96, constrain=constrain)
    return list(open_extractor(open_engine(str(model)), schemas, settings).each(given))


def summary(gold: Sequence[Extraction], found: Sequence[Extraction]) -> dict[str, Any]:
    """Return F1 with its interval, by texts and by spans."""
    value: dict[str, Any] = {"texts": len(gold)}
    for match in ("text", "span"):
        entities = scores(gold, found, match=match)["entities"]
        value[match] = {
            "f1": entities.micro.f1, "low": entities.micro.low, "high": entities.micro.high,
            "precision": entities.micro.precision, "recall": entities.micro.recall,
            "macro": entities.macro, "types": {n: one.f1 for n, one in entities.types.items()},
        }  # fmt: skip
    return value


def train_hanlin(folder: Path, dev: Sequence[Extraction], box: Box) -> None:
    """Tune slice by slice until the time is over, the last slice with a falling learning rate."""
    import torch

    torch.set_num_threads(1)
    prepare(folder)
    model, steps, curve, each = folder / "base", SLICE_STEPS, list[dict[str, Any]](), 0.0
    is_last = False
    while not is_last:
        if each and box.left < 2 * SLICE_STEPS * each:
            steps, is_last = max(20, int(box.left / each)), True
        before = box.taken
        scheduler = "cosine" if is_last else "constant"
        model = tune(folder, len(curve) + 1, model, steps=steps, scheduler=scheduler)
        each = (box.taken - before) / steps
        point = {"steps": steps + (curve[-1]["steps"] if curve else 0), "seconds": box.taken}
        with box.free():
            found = summary(dev[:SLICE_DEV], extracted(model, dev[:SLICE_DEV], "off"))
        curve.append(point | {match: found[match]["f1"] for match in ("text", "span")})
        print("hanlin", json.dumps(curve[-1]), flush=True)
        write_json(folder / "hanlin.json", {"curve": curve, "seconds": box.taken})
    value = {
        "curve": curve, "seconds": box.taken, "base_steps": BASE_STEPS,
        "dev": summary(dev, extracted(model, dev, "off")),
        "dev, held to the text": summary(dev, extracted(model, dev, "text")),
    }  # fmt: skip
    write_json(folder / "hanlin.json", value)


def features(text: str) -> Iterator[dict[str, str]]:
    """Yield the features of each character: those around it, alone and in pairs."""
    padded = f"\x02\x02\x02{text}\x03\x03\x03"
    for at in range(3, 3 + len(text)):
        own = {f"{d}": padded[at + d] for d in range(-3, 4)}
        own |= {f"{d}+": padded[at + d : at + d + 2] for d in range(-3, 3)}
        yield own | {f"{d}++": padded[at + d : at + d + 3] for d in range(-2, 1)}


def tags(one: Extraction) -> list[str]:
    """Return the BIO tags of a text; of overlapping mentions the first."""
    found = ["O"] * len(one.text)
    for mention in one.entities:
        assert mention.start is not None and mention.end is not None
        if found[mention.start : mention.end] == ["O"] * (mention.end - mention.start):
            for at in range(mention.start, mention.end):
                found[at] = f"{'B' if at == mention.start else 'I'}-{mention.type}"
    return found


def train_baseline(folder: Path, dev: Sequence[Extraction], box: Box) -> None:
    """Pass over the rows as long as there is time; the best pass is not chosen."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    hasher = FeatureHasher(n_features=1 << 20, input_type="string")

    def matrix(some: Sequence[Extraction]) -> Any:  # noqa: ANN401 - a sparse matrix
        return hasher.transform(
            [f"{k}={v}" for k, v in own.items()] for one in some for own in features(one.text)
        )

    train = list(read_set(DATA / "ie" / "ner" / "cluener_train.jsonl"))
    known = sorted({tag for one in train for tag in tags(one)})
    inputs, wanted = matrix(train), np.array([tag for one in train for tag in tags(one)])
    model = SGDClassifier(loss="log_loss", alpha=1e-6, average=True, random_state=0)
    with box.free():
        given = matrix(dev)
    curve: list[dict[str, Any]] = []
    passes = 0
    while box.left > 0 or not curve:
        order = np.random.default_rng(passes).permutation(len(wanted))
        model.partial_fit(inputs[order], wanted[order], classes=known)
        passes += 1
        if curve and box.taken < ENOUGH * curve[-1]["seconds"]:
            continue
        taken = box.taken
        with box.free():
            found = tagged(dev, model.predict(given))
            own = summary(dev[:SLICE_DEV], found[:SLICE_DEV])
            point = {"passes": passes, "seconds": taken, "dev": summary(dev, found)}
        curve.append(point | {match: own[match]["f1"] for match in ("text", "span")})
        shown = {key: value for key, value in curve[-1].items() if key != "dev"}
        print("linear tagger", json.dumps(shown), flush=True)
        write_json(folder / "linear tagger.json", {"curve": curve})


def tagged(texts: Sequence[Extraction], predicted: Sequence[str]) -> list[Extraction]:
    """Return the chunks that tags name."""
    found, at = [], 0
    for one in texts:
        own = [str(tag) for tag in predicted[at : at + len(one.text)]]
        at += len(one.text)
        mentions = tuple(Mention(one.text[s:e], t, s, e) for s, e, t in chunks(own))
        found.append(Extraction(one.id, one.text, "zh", mentions))
    return found


def together(folder: Path, seconds: float) -> dict[str, Any]:
    """Return what both sides wrote; of the baseline what it was when the model's time was over."""
    model, tagger = (read_json(folder / f"{side}.json") for side in SIDES)
    curve = [one for one in tagger["curve"] if one["seconds"] <= model["seconds"]]
    last = (curve or tagger["curve"])[-1]
    bare = [{k: v for k, v in one.items() if k != "dev"} for one in curve or tagger["curve"][:1]]
    return {
        "machine": environment.describe(), "minutes": seconds / 60, "shape": SHAPE,
        "vocab_size": VOCAB_SIZE, "seq_len": SEQ_LEN, "rows": ROWS, "learning_rate": LEARNING_RATE,
        "hanlin": model,
        "linear tagger": {"curve": bare, "seconds": last["seconds"], "dev": last["dev"]},
    }  # fmt: skip


def report(value: dict[str, Any]) -> str:
    """Return the result as a page."""
    rows = [("Hanlin", value["hanlin"]["dev"]),
            ("Hanlin, names from the text only", value["hanlin"]["dev, held to the text"]),
            ("linear tagger", value["linear tagger"]["dev"])]  # fmt: skip
    lines = [
        f"CLUENER, {rows[0][1]['texts']} texts of the dev split, after "
        f"{value['hanlin']['seconds'] / 60:.1f} minutes of processor time (Hanlin) and "
        f"{value['linear tagger']['seconds'] / 60:.1f} (tagger), one thread each.", "",
        "| | F1 of names and types | precision | recall | F1 with places |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, dev in rows:
        text, span = dev["text"], dev["span"]
        lines.append(
            f"| {name} | {text['f1']:.3f} ({text['low']:.3f} to {text['high']:.3f}) "
            f"| {text['precision']:.3f} | {text['recall']:.3f} | {span['f1']:.3f} |"
        )
    for side, unit in zip(SIDES, ("steps", "passes"), strict=True):
        lines += ["", f"Learning curve of {side}, {SLICE_DEV} texts:", ""]
        lines += [f"| {unit} | minutes | F1 |", "|---|---|---|"]
        lines += [
            f"| {one[unit]} | {one['seconds'] / 60:.1f} | {one['text']:.3f} |"
            for one in value[side]["curve"]
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train both side by side, print the curves and write the results."""
    seconds = 60 * float(sys.argv[1])
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    dev = list(read_set(DATA / "ie" / "ner" / "cluener_dev.jsonl"))
    if len(sys.argv) > 3:
        work = train_hanlin if sys.argv[3] == SIDES[0] else train_baseline
        work(folder, dev, Box(seconds))
        return
    folder.mkdir(parents=True, exist_ok=True)
    instruct(folder)
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, sys.argv[1], str(folder)]
    running = [subprocess.Popen([*command, side], env=one_thread) for side in SIDES]
    if any(process.wait() for process in running):
        sys.exit("a side broke off")
    value = together(folder, seconds)
    write_json(RESULT, value)
    write_atomic(REPORT, report(value).encode())
    print(report(value))


if __name__ == "__main__":
    main()
