"""Does a small model learn to plan look-ups? Two-hop questions on the sample world, answered.

    nice -n 19 python benchmarks/planner.py

Makes the sample world, its graph and the plans that it teaches; trains a model of about 1 M
parameters from nothing on the plans (`hanlin run` with a recipe), and lets it plan 50 two-hop
questions that begin at entities of which it saw no question. Model and rows know numbers in place
of names (`--plan-form slots`), so that what is left to learn are wordings and relations, and those
of the questions are among the training's. The model plans twice: free, and held to look-ups of the
graph's relations (`--constrain`). The same questions are answered from the plans that belong to
them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1"}

from hanlin.cli.extract.asking import asker, planned
from hanlin.core import environment
from hanlin.core.errors import InputError
from hanlin.core.files import write_json, write_jsonl
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.plan_rows import write_plan_rows
from hanlin.extraction.knowledge.planning import follow
from hanlin.extraction.knowledge.sources import read_graph
from hanlin.pipeline.run import run_single

RESULT = Path(__file__).parent / "results" / "planner.json"
LANGUAGES = ("zh", "en")
QUESTIONS, SEED, PEOPLE, TEST_SHARE = 50, 17, 96, 0.2
RELATIONS = {
    "born_in": ("出生地", "birthplace"), "profession": ("职业", "profession"),
    "birth_year": ("出生年份", "birth year"), "works_for": ("雇主", "employer"),
    "food": ("喜欢的食物", "favorite food"), "lies_on": ("河流", "river"),
    "specialty": ("特产", "specialty"), "flows_into": ("流入地", "mouth"),
    "headquartered_in": ("总部", "headquarters"), "product": ("产品", "product"),
    "founder": ("创始人", "founder"), "author": ("作者", "author"), "subject": ("题材", "subject"),
    "published": ("写作年份", "year of publication"), "held_in": ("举办地", "venue"),
    "held_year": ("创办年份", "first year"), "organizer": ("主办方", "organizer"),
}  # fmt: skip
RECIPE = """
schema_version: 1
name: planner
seed: {seed}
stages:
  base:
    corpus: [{folder}/texts.jsonl]
    vocab_size: 600
    architecture: {{hidden_size: 128, layers: 4, heads: 4, max_length: 512}}
    schedule: {{steps: {base_steps}, seq_len: 256, micro_batch_size: 8, learning_rate: 3e-3}}
  chat:
    stage: prepare-chat
    tokenizer: "@base/model"
    prompt: plain
    seq_len: 256
    sources: [{{name: plans, path: {folder}/plans/train.jsonl, weight: 1.0}}]
  finetune:
    model: "@base/model"
    store: "@chat/store"
    method: full
    schedule: {{steps: {steps}, seq_len: 256, micro_batch_size: 8, learning_rate: 2e-3}}
"""


def make_world(folder: Path) -> Path:
    """Make a sample world, with names for its relations; return its folder."""
    from hanlin.data.sample_world.stage import Config

    world = run_single("sample-world", Config(people=PEOPLE), out=folder / "world", seed=SEED)
    lines = ["relation\tlanguage\tname"]
    for relation, (zh, en) in RELATIONS.items():
        lines += [f"{relation}\tzh\t{zh}", f"{relation}\ten\t{en}"]
    (world / "graph" / "relations.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return world


def train(folder: Path, *, base_steps: int, steps: int) -> Path:
    """Train on texts for a moment, then on the plans; return the model."""
    from hanlin.cli.main import run_command

    recipe = folder / "planner.yaml"
    text = RECIPE.format(folder=folder, seed=SEED, base_steps=base_steps, steps=steps)
    recipe.write_text(text, encoding="utf-8")
    if run_command(["run", str(recipe), "--out", str(folder / "run")]):
        sys.exit("the training failed")
    return folder / "run" / "finetune" / "model"


def measure(model: Path, questions: list[dict[str, Any]], store: Path) -> dict[str, Any]:
    """Return how many questions are answered from the model's plans, and from the right ones."""
    ask = asker(str(model), max_new_tokens=120)
    result: dict[str, Any] = {"questions": len(questions)}
    stores = {code: GraphStore.open(store, language=code) for code in LANGUAGES}
    result["right_from_written_plans"] = sum(
        set(follow(q["plan"], stores[q["language"]]).answer) == set(q["answer"]) for q in questions
    )
    for way, is_held in (("free", False), ("held", True)):
        right = refused = same = 0
        wrong = []
        for question in questions:
            graph = stores[question["language"]]
            plan, found = "", ()
            try:
                plan, _ = planned(
                    question["question"], ask, graph, language=question["language"], form="slots",
                    is_held=is_held,
                )  # fmt: skip
                found = follow(plan, graph).answer
            except InputError:
                refused += 1
            same += plan == question["plan"]
            if set(found) == set(question["answer"]):
                right += 1
            else:
                wrong.append({"question": question["question"], "plan": plan, "found": found})
        result[way] = {
            "right": right, "accuracy": right / len(questions), "plans_as_written": same,
            "plans_refused": refused, "some_wrong": wrong[:5],
        }  # fmt: skip
    return result


def main() -> None:
    """Make, train, ask, write the result."""
    base_steps, steps = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (40, 300)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world, store = make_world(folder), folder / "world.sqlite"
        counts = write_plan_rows(
            [world / "graph"], folder / "plans", languages=LANGUAGES, form="slots", most=5000,
            test_share=TEST_SHARE, seed=SEED,
        )  # fmt: skip
        GraphStore.create(store, read_graph([world / "graph"]))
        conversations = [row["messages"] for row in rows_of(folder / "plans" / "train.jsonl")]
        texts = [{"text": "\n".join(m["content"] for m in one)} for one in conversations]
        write_jsonl(folder / "texts.jsonl", texts)
        two_hops = [r for r in rows_of(folder / "plans" / "questions.jsonl") if r["hops"] == 2]
        chosen = [r for r in two_hops if r["language"] == "zh"][: QUESTIONS // 2]
        chosen += [r for r in two_hops if r["language"] == "en"][: QUESTIONS - len(chosen)]
        started = time.monotonic()
        model = train(folder, base_steps=base_steps, steps=steps)
        seconds = time.monotonic() - started
        scores = measure(model, chosen, store)
    result = {
        "machine": environment.describe(), "plans": counts, "base_steps": base_steps,
        "different_requests_in_training": len({one[0]["content"] for one in conversations}),
        "finetune_steps": steps, "training_seconds": round(seconds), **scores,
    }  # fmt: skip
    write_json(RESULT, result)
    print(json.dumps(result, ensure_ascii=False, indent=1))


def rows_of(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    return [row for _, row in read_values(file, BadRows())]


if __name__ == "__main__":
    main()
