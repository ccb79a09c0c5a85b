"""How well does a small model learn CLUENER from nothing, beside a classic tagger in equal time?

    python benchmarks/cluener.py MINUTES [FOLDER]

The train split of the public data (HANLIN_DATA) becomes instructions in the form `lines`; a small
LLaMA is made of the same texts and tuned on them with Hanlin's own stages, in slices, until the
minutes are over. After each slice it extracts from the dev split: the learning curve. The
baseline is scikit-learn's linear classifier of characters with BIO tags (features of a window), on
the same rows, passing over them for as long. Minutes are of processor time, one thread each, and
without measuring; nothing but the rows is learned from.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hanlin.core import environment
from hanlin.core.config import InputPath, ModelPath
from hanlin.core.files import write_json, write_jsonl
from hanlin.data.prepare_chat import Config as ChatConfig
from hanlin.extraction.facts import Extraction, Mention, to_row
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
INSTRUCTION = "抽取实体。"
SHAPE = {"hidden_size": 192, "layers": 4, "heads": 4, "max_length": 256}
BASE_STEPS, SLICE_STEPS = 100, 60
ROWS = 16  # of a step
SLICE_DEV = 200  # texts of the dev split that are measured after each slice; all at the end


def instruct(folder: Path) -> None:
    """Write the train split as a corpus and as conversations."""
    from hanlin.extraction.knowledge.instruct import conversation

    schema = load_schemas("cluener")["zh"].model_copy(update={"instruction": INSTRUCTION})
    examples = list(read_set(DATA / "ie" / "ner" / "cluener_train.jsonl"))
    write_jsonl(folder / "texts.jsonl", ({"text": one.text} for one in examples))
    write_jsonl(folder / "chat.jsonl", (conversation(one, schema) for one in examples))
    write_jsonl(folder / "train.jsonl", map(to_row, examples))


def prepare(folder: Path) -> None:
    """Make the base model of the texts, and the token store of the conversations."""
    base = BaseConfig.model_validate({
        "corpus": [InputPath(folder / "texts.jsonl")], "vocab_size": 4000, "architecture": SHAPE,
        "schedule": {"steps": BASE_STEPS, "seq_len": 128, "micro_batch_size": ROWS,
                     "learning_rate": 2e-3, "threads": 1},
    })  # fmt: skip
    run_single("base", base, out=folder / "base")
    chat = ChatConfig.model_validate({
        "sources": [{"name": "cluener", "path": InputPath(folder / "chat.jsonl")}],
        "tokenizer": ModelPath(folder / "base"), "seq_len": 256,
    })  # fmt: skip
    run_single("prepare-chat", chat, out=folder / "store")


def tune(folder: Path, number: int, model: Path) -> Path:
    """Go on for a slice of steps."""
    config = TuneConfig.model_validate({
        "model": ModelPath(model), "store": InputPath(folder / "store"),
        "method": "full", "try_answers": 0,
        "schedule": {"steps": SLICE_STEPS, "seq_len": 256, "micro_batch_size": ROWS,
                     "learning_rate": 1.5e-3, "scheduler": "cosine", "threads": 1},
    })  # fmt: skip
    run_single("finetune", config, out=folder / f"tuned-{number}", seed=number)
    return folder / f"tuned-{number}"


def extracted(model: Path, given: Sequence[Extraction]) -> list[Extraction]:
    """Extract with a model, held to nothing."""
    schemas = {"zh": load_schemas("cluener")["zh"].model_copy(update={"instruction": INSTRUCTION})}
    settings = Settings(max_new_tokens=96)
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


def train_hanlin(folder: Path, dev: Sequence[Extraction], seconds: float) -> dict[str, Any]:
    """Tune slice by slice until the time is over; the measuring does not count."""
    start, measuring = time.process_time(), 0.0
    prepare(folder)
    model, curve, number = folder / "base", list[dict[str, Any]](), 0
    while True:
        number += 1
        model = tune(folder, number, model)
        taken = time.process_time() - start - measuring
        before = time.process_time()
        point = summary(dev[:SLICE_DEV], extracted(model, dev[:SLICE_DEV]))
        curve.append({"steps": number * SLICE_STEPS, "seconds": taken,
                      "f1": point["text"]["f1"], "span_f1": point["span"]["f1"]})  # fmt: skip
        print(json.dumps(curve[-1]), flush=True)
        measuring += time.process_time() - before
        if taken * (1 + 1 / number) > seconds:  # another slice would not end in time
            break
    return {"curve": curve, "seconds": taken, "dev": summary(dev, extracted(model, dev))}


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


def train_baseline(
    train: Sequence[Extraction], dev: Sequence[Extraction], seconds: float
) -> dict[str, Any]:
    """Pass over the rows for as long as the model was trained; the best pass is not chosen."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    start, measuring = time.process_time(), 0.0
    hasher = FeatureHasher(n_features=1 << 20, input_type="string")

    def matrix(some: Sequence[Extraction]) -> Any:  # noqa: ANN401 - a sparse matrix
        return hasher.transform(
            [f"{k}={v}" for k, v in own.items()] for one in some for own in features(one.text)
        )

    known = sorted({tag for one in train for tag in tags(one)})
    inputs, wanted = matrix(train), np.array([tag for one in train for tag in tags(one)])
    model = SGDClassifier(loss="log_loss", alpha=1e-6, average=True, random_state=0)
    given, curve = matrix(dev), list[dict[str, Any]]()
    while time.process_time() - start - measuring < seconds and len(curve) < 200:
        order = np.random.default_rng(len(curve)).permutation(len(wanted))
        model.partial_fit(inputs[order], wanted[order], classes=known)
        taken, before = time.process_time() - start - measuring, time.process_time()
        found = tagged(dev, model.predict(given))
        own = scores(dev[:SLICE_DEV], found[:SLICE_DEV], samples=2)["entities"].micro.f1
        curve.append({"passes": len(curve) + 1, "seconds": taken, "f1": own})
        print(json.dumps(curve[-1]), flush=True)
        measuring += time.process_time() - before
    return {"curve": curve, "seconds": taken, "dev": summary(dev, found)}


def tagged(texts: Sequence[Extraction], predicted: Sequence[str]) -> list[Extraction]:
    """Return the chunks that tags name."""
    found, at = [], 0
    for one in texts:
        own = [str(tag) for tag in predicted[at : at + len(one.text)]]
        at += len(one.text)
        mentions = tuple(Mention(one.text[s:e], t, s, e) for s, e, t in chunks(own))
        found.append(Extraction(one.id, one.text, "zh", mentions))
    return found


def main() -> None:
    """Train both, print the curves and write the results."""
    seconds = 60 * float(sys.argv[1])
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    instruct(folder)
    train = list(read_set(DATA / "ie" / "ner" / "cluener_train.jsonl"))
    dev = list(read_set(DATA / "ie" / "ner" / "cluener_dev.jsonl"))
    hanlin = train_hanlin(folder, dev, seconds)
    baseline = train_baseline(train, dev, hanlin["seconds"])
    value = {"machine": environment.describe(), "shape": SHAPE, "minutes": float(sys.argv[1]),
             "train": len(train), "hanlin": hanlin, "linear tagger": baseline}  # fmt: skip
    write_json(RESULT, value)
    for name in ("hanlin", "linear tagger"):
        print(name, json.dumps({m: value[name]["dev"][m]["f1"] for m in ("text", "span")}))


if __name__ == "__main__":
    main()
