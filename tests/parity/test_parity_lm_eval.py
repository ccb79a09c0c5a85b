"""The same log-likelihoods as lm-evaluation-harness' own `hf` backend, on the same prompts."""

import json

import pytest

from hanlin.inference.engine import open_engine
from hanlin.inference.prefix import score_requests
from hanlin.models.load import load_model
from hanlin.models.tiny import make_tiny

lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed (extra eval)")

QUESTIONS = [
    {"question": f"{n}加{n}是多少？", "options": [f"{n}", f"{n + n}", "零", "一"], "answer": 1}
    for n in range(1, 9)
]  # fmt: skip
TASK = """
task: hanlin_made_up
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}\\n答案："
doc_to_choice: "{{options}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


def test_prompts_of_lm_eval_score_the_same(folder):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=4)
    pairs = [(f"{q['question']}\n答案：", f" {o}") for q in QUESTIONS for o in q["options"]]
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i)
        for i, pair in enumerate(pairs)
    ]
    theirs = [value for value, _ in harness.loglikelihood(requests, disable_tqdm=True)]
    ids = [harness._encode_pair(*pair) for pair in pairs]
    ours = score_requests(load_model(folder), ids, max_length=512)
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_task_gives_the_same_accuracy_on_model_hanlin(folder, tmp_path):
    from lm_eval.tasks import TaskManager

    from hanlin.evaluation.lm_eval_bridge import HanlinLM

    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(q, ensure_ascii=False) + "\n" for q in QUESTIONS))
    (tmp_path / "made_up.yaml").write_text(TASK.replace("FILE", str(file)))
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = [
        lm_eval.simple_evaluate(
            model=model, model_args=arguments, tasks=["hanlin_made_up"], task_manager=manager
        )
        for model, arguments in (
            ("hf", f"pretrained={folder},dtype=float32,device=cpu"),
            (HanlinLM(str(folder)), None),
        )
    ]
    accuracies = [r["results"]["hanlin_made_up"]["acc,none"] for r in found]
    assert accuracies[0] == accuracies[1]
    theirs, ours = ([s["resps"] for s in r["samples"]["hanlin_made_up"]] for r in found)
    values = [[[float(option[0][0]) for option in row] for row in rows] for rows in (theirs, ours)]
    for expected, actual in zip(*values, strict=True):
        assert actual == pytest.approx(expected, abs=1e-4)


def test_the_bridge_says_which_extra_is_missing(monkeypatch):
    import importlib
    import sys

    from hanlin.core.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "hanlin.evaluation.lm_eval_bridge", raising=False)
    with pytest.raises(MissingExtraError) as error:
        importlib.import_module("hanlin.evaluation.lm_eval_bridge")
    assert 'pip install "hanlin[eval]"' in str(error.value)


def test_the_engine_is_the_same_one(folder):
    from hanlin.evaluation.lm_eval_bridge import HanlinLM

    bridge, engine = HanlinLM(str(folder)), open_engine(str(folder))
    assert bridge.tok_encode("书") == [1, *engine.tokenizer.encode("书", at_start=True)]
    assert bridge._loglikelihood_tokens([(("", ""), [1] * 600, [5, 6])])[0][0] < 0
