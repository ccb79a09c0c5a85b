"""Does a small model learn to plan look-ups? Two-hop questions on the sample world, answered.

    nice -n 19 python benchmarks/planner.py

Makes the sample world, its graph and the plans that it teaches; trains a model of about 1 M
parameters from nothing on the plans (`hanlin run` with a recipe), and lets it plan 50 two-hop
questions that begin at entities of which it saw no question. The same questions are answered from
the plans that belong to them. Such a model learns which relations to follow and copies names badly,
so it is measured as it answers, and with the names of the question as `hanlin extract ask` does it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1"}

from hanlin.cli.extract.asking import asker
from hanlin.core import environment
from hanlin.core.errors import InputError
from hanlin.core.files import write_json
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.plan_rows import write_plan_rows
from hanlin.extraction.knowledge.planning import follow, request
from hanlin.extraction.knowledge.sources import read_graph
from hanlin.pipeline.run import run_single

RESULT = Path(__file__).parent / "results" / "planner.json"
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
    corpus: [{folder}/world/corpus/en.jsonl, {folder}/world/corpus/zh.jsonl]
    vocab_size: 1600
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


def measure(model: Path, questions: list[dict[str, object]], store: Path) -> dict[str, object]:
    """Return how many questions are answered from the model's plans, and from the right ones."""
    ask = asker(str(model), max_new_tokens=120)
    planned = ask([request(str(q["question"]), str(q["language"])) for q in questions])
    right = grounded = refused = by_hand = 0
    wrong: list[dict[str, object]] = []
    for question, answer in zip(questions, planned, strict=True):
        with GraphStore.open(store, language=str(question["language"])) as graph:
            by_hand += set(follow(str(question["plan"]), graph).answer) == set(question["answer"])
            names = graph.named_in(str(question["question"]))
            try:
                found = follow(answer, graph).answer
                there = follow(answer, graph, names=names).answer
            except InputError:
                refused, found, there = refused + 1, (), ()
        is_right = set(found) == set(question["answer"])
        right += is_right
        grounded += set(there) == set(question["answer"])
        if not is_right and len(wrong) < 5:
            wrong.append({"question": question["question"], "plan": answer, "found": found})
    total = len(questions)
    return {
        "questions": total, "right_from_written_plans": by_hand, "right_from_model": right,
        "accuracy": round(right / total, 3), "right_with_names_of_the_question": grounded,
        "accuracy_with_names_of_the_question": round(grounded / total, 3),
        "plans_refused": refused, "some_wrong": wrong,
    }  # fmt: skip


def main() -> None:
    """Make, train, ask, write the result."""
    base_steps, steps = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (120, 700)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world, store = make_world(folder), folder / "world.sqlite"
        counts = write_plan_rows(
            [world / "graph"], folder / "plans", languages=("zh", "en"), form="code", most=5000,
            test_share=TEST_SHARE, seed=SEED,
        )  # fmt: skip
        GraphStore.create(store, read_graph([world / "graph"]))
        rows = [row for _, row in read_values(folder / "plans" / "questions.jsonl", BadRows())]
        two_hops = [row for row in rows if row["hops"] == 2]
        chosen = [r for r in two_hops if r["language"] == "zh"][: QUESTIONS // 2]
        chosen += [r for r in two_hops if r["language"] == "en"][: QUESTIONS - len(chosen)]
        started = time.monotonic()
        model = train(folder, base_steps=base_steps, steps=steps)
        seconds = time.monotonic() - started
        scores = measure(model, chosen, store)
    result = {
        "machine": environment.describe(), "plans": counts,
        "base_steps": base_steps,
        "finetune_steps": steps, "training_seconds": round(seconds), **scores,
    }  # fmt: skip
    write_json(RESULT, result)
    print(result)


if __name__ == "__main__":
    main()
