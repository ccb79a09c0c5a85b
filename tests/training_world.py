"""A tiny grown model with its token stores, for the tests of training."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext

ENGLISH = ("the", "old", "river", "bridge", "town", "teacher", "book", "lamp", "clock", "king")
CHINESE = "河流穿过古城横跨书是谁写的老师公司兄弟创立画家出生北方"
SCHEDULE = {
    "steps": 12,
    "seq_len": 48,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 3e-3,
    "save_every": 4,
    "log_every": 1,
    "threads": 1,
}


@dataclass(frozen=True)
class World:
    """Where everything lies.

    Attributes:
        corpus: English and Chinese texts.
        heldout: others, for probes.
        model: a tiny LLaMA whose last rows are grown ones.
        store: the corpus as a token store.
        chat: conversations as a token store with a mask.
    """

    folder: Path

    @property
    def corpus(self):
        return self.folder / "corpus.jsonl"

    @property
    def heldout(self):
        return self.folder / "heldout.jsonl"

    @property
    def model(self):
        return self.folder / "model"

    @property
    def store(self):
        return self.folder / "texts" / "store"

    @property
    def chat(self):
        return self.folder / "conversations" / "store"

    def inputs(self, stage, **settings):
        """Return the config values of a stage, its schedule short."""
        paths = {
            "base": {"corpus": [str(self.corpus)], "vocab_size": 400},
            "pretrain": {"model": str(self.model), "store": str(self.store)},
            "finetune": {"model": str(self.model), "store": str(self.chat)},
        }[stage]
        if stage == "base":
            paths["architecture"] = {"hidden_size": 32, "layers": 2, "heads": 2, "max_length": 64}
        schedule = {**SCHEDULE, **settings.pop("schedule", {})}
        return {**paths, "schedule": schedule, **settings}


def make_world(folder: Path, *, tie: bool = False) -> World:
    """Write all of it; takes about a second."""
    from hanlin.data import prepare_chat, prepare_corpus
    from hanlin.models.manifest import write_manifest
    from hanlin.models.tiny import make_tiny
    from hanlin.tokenization.load import load

    world, draw = World(folder), random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    texts = [_text(draw) for _ in range(120)]
    write_rows(world.corpus, texts)
    write_rows(world.heldout, [_text(draw) for _ in range(12)])
    write_rows(folder / "chat.jsonl", [_conversation(draw) for _ in range(60)])
    make_tiny(world.model, texts=[row["text"] for row in texts], vocab_size=400, tie=tie)
    grown_from = load(world.model).vocab_size - 10
    write_manifest(world.model, base_vocab_size=grown_from)
    values = {"sources": [{"path": str(world.corpus), "name": "texts"}]}
    run_stage(prepare_corpus, {**values, "tokenizer": str(world.model)}, world.store.parent)
    values = {"sources": [{"path": str(folder / "chat.jsonl"), "name": "chat"}], "seq_len": 48}
    run_stage(prepare_chat, {**values, "tokenizer": str(world.model)}, world.chat.parent)
    return world


def run_stage(module, values, out, *, seed=0, progress=None, notes=None):
    """Run a stage in place, its notes appended to a list; return the context."""
    out.mkdir(parents=True, exist_ok=True)
    more = {} if progress is None else {"progress": progress}
    more |= {} if notes is None else {"note": notes.append}
    name = module.__name__.rpartition(".")[2]
    context = StageContext(name, out, seed, EventLog(out.with_suffix(".events.jsonl")), **more)
    module.run(module.Config.model_validate(values), context)
    return context


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def bytes_of(folder):
    """Return every file of a folder by its relative name."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def _text(draw):
    if draw.random() < 0.7:
        words = draw.choices(ENGLISH, k=draw.randint(5, 60))
        return {"text": " ".join(words) + ".", "language": "en"}
    return {"text": "".join(draw.choices(CHINESE, k=draw.randint(5, 40))) + "。", "language": "zh"}


def _conversation(draw):
    messages = []
    for _ in range(draw.randint(1, 2)):
        one, two = draw.choices(ENGLISH, k=2)
        messages.append({"role": "user", "content": f"{one} {two}？"})
        messages.append({"role": "assistant", "content": f"{two} 古城 {one}"})
    return {"messages": messages}
