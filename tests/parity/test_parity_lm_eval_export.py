"""Exported task files load and run in lm-evaluation-harness, and give the accuracy that ours do."""

import pytest

from exam_world import World
from hanlin.core.files import read_json, write_json
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.lm_eval_export import export_task
from hanlin.evaluation.run import run_benchmark
from hanlin.inference.engine import open_engine
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format

lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed (extra eval)")

CASES = {
    "letters": {"benchmark": "ceval", "protocol": "lm-eval", "shots": 2},
    "macro": {"benchmark": "cmmlu", "protocol": "official", "shots": 1},
    "texts": {"benchmark": "mmlu", "protocol": "plain", "scorer": "text", "shots": 1},
    "passages": {"benchmark": "agieval", "protocol": "official", "shots": 0},
    "ranking": {"benchmark": "xiezhi", "protocol": "cutegpt-mrr", "options": 8, "shots": 0},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    config = make_tiny(folder / "model") / "config.json"
    room = {"max_position_embeddings": 1024}  # it cuts each option by itself
    write_json(config, read_json(config) | room)
    World(folder, count=5).write_all()
    return folder


@pytest.fixture(scope="module")
def harness(folder):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(folder / "model"), device="cpu", dtype="float32", batch_size=8)


@pytest.mark.parametrize("case", CASES)
def test_the_harness_gets_our_accuracy(folder, harness, tmp_path, case):
    from lm_eval.tasks import TaskManager

    settings = CASES[case]
    data = str(folder / settings["benchmark"])
    config = BenchmarkConfig(id=case, data=data, **settings)
    exported = export_task(config, tmp_path / "tasks")
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    found = lm_eval.simple_evaluate(model=harness, tasks=[exported.task], task_manager=manager)

    engine = open_engine(str(folder / "model"))
    subject = Subject("m", engine, get_format("plain"))
    ours = run_benchmark(config, subject, seed=0)
    scored = [record for record in ours.records if "log_likelihoods" in record]
    theirs = {}
    for samples in found["samples"].values():
        for sample in samples:
            theirs[sample["doc"]["id"]] = [float(r[0][0]) for r in sample["resps"]]
    assert len(theirs) == exported.questions == len(scored)
    for record in scored:
        assert theirs[record["id"]] == pytest.approx(record["log_likelihoods"], abs=1e-3)
    accuracy = found["groups"][exported.task]["acc,none"]
    if case != "passages":  # ours counts its cloze as well
        assert accuracy == pytest.approx(
            {m.metric: m.estimate.value for m in ours.measures}["accuracy"], abs=1e-6
        )
