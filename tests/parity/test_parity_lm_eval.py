"""`lm_eval --model hanlin` answers every kind of request as lm-eval's own `hf` model does."""

import importlib
import json
import logging
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from hanlin.core.errors import ConfigError, MissingExtraError
from hanlin.core.files import write_json
from hanlin.inference.engine import open_engine
from hanlin.models import grow
from hanlin.models.tiny import make_tiny
from hanlin.tokenization.load import load
from hanlin.tokenization.sentencepiece_extend import extend, write
from hanlin.weights.merge import merge


def test_the_bridge_says_which_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "hanlin.evaluation.lm_eval_bridge", raising=False)
    with pytest.raises(MissingExtraError) as error:
        importlib.import_module("hanlin.evaluation.lm_eval_bridge")
    assert 'pip install "hanlin[eval]"' in str(error.value)


lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed (extra eval)")
QUESTIONS = [
    {"question": f"{n}加{n}是多少？", "options": [f"{n}", f"{n + n}", "零", "一"], "answer": 1}
    for n in range(1, 9)
]  # fmt: skip
TEXTS = ["河流穿过古城，古桥横跨河流。" * 30, "Who wrote the book? ", "🙂 ＡＢＣ", "a"]
PAIRS = [
    *((f"{q['question']}\n答案：", f" {o}") for q in QUESTIONS for o in q["options"]),
    ("The answer is  ", "the old town"), ("", "The river"), (TEXTS[0] * 2, " the old bridge"),
    ("\n", "两兄弟"), ("Who wrote", " the book?"),
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
def models(tmp_path_factory):
    """Folders for ours and for hf: a tiny model, one with a grown vocabulary, one with LoRA."""
    folder = tmp_path_factory.mktemp("models")
    tiny = make_tiny(folder / "tiny")
    pieces = [piece for piece in ("河流", "古城", "横跨") if piece not in load(tiny).vocabulary]
    write(load(tiny), extend(load(tiny), pieces), folder / "tokenizer")
    settings = grow.Config(model=str(tiny), tokenizer=str(folder / "tokenizer"))
    grown = grow.grow(settings, folder / "grown", seed=0)
    adapter = make_adapter(folder / "adapter", size=32)
    merge.merge(merge.Config(base=str(tiny), adapter=str(adapter)), folder / "merged")
    return {
        "tiny": (tiny, {}),
        "grown vocabulary": (grown, {}),
        "LoRA": (folder / "merged", {"pretrained": str(tiny), "peft": str(adapter)}),
    }


def make_adapter(folder, *, size):
    generator = torch.Generator().manual_seed(0)
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {"A": (4, size), "B": (size, 4)}
    tensors = {
        f"{module}.lora_{name}.weight": torch.randn(shape, generator=generator)
        for name, shape in shapes.items()
    }
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM",
              "target_modules": ["q_proj"], "layers_to_transform": [0]}  # fmt: skip
    write_json(folder / "adapter_config.json", config)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture(scope="module", params=["tiny", "grown vocabulary", "LoRA"])
def sides(request, models):
    """Our model and the harness's own, of the same weights."""
    from lm_eval.models.huggingface import HFLM

    from hanlin.evaluation.lm_eval_bridge import HanlinLM

    folder, settings = models[request.param]
    options = {"pretrained": str(folder), "device": "cpu", "dtype": "float32", "batch_size": 4}
    tokenizer = {"tokenizer": str(folder)} if settings else {}
    return HanlinLM(str(folder)), HFLM(**{**options, **tokenizer, **settings})


def requests(kind, arguments):
    from lm_eval.api.instance import Instance

    return [
        Instance(request_type=kind, doc={}, arguments=found, idx=i)
        for i, found in enumerate(arguments)
    ]


def test_log_likelihoods_and_greedy_flags(sides):
    ours, theirs = (side.loglikelihood(requests("loglikelihood", PAIRS)) for side in sides)
    assert [a for a, _ in ours] == pytest.approx([a for a, _ in theirs], abs=1e-4)
    assert [b for _, b in ours] == [b for _, b in theirs]


def test_greedy_answers_are_flagged_alike(sides):
    prompts = [text[:length] for text in TEXTS[:2] for length in range(1, 20)]
    settings = {"max_gen_toks": 2}
    answers = sides[0].generate_until(requests("generate_until", [(p, settings) for p in prompts]))
    pairs = [(p, answer) for p, answer in zip(prompts, answers, strict=True) if answer.strip()]
    ours, theirs = (
        [flag for _, flag in side.loglikelihood(requests("loglikelihood", pairs))] for side in sides
    )
    assert ours == theirs
    assert True in ours


def test_texts_in_windows(sides):
    found = [
        side.loglikelihood_rolling(requests("loglikelihood_rolling", [(text,) for text in TEXTS]))
        for side in sides
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-3)  # a sum over hundreds of tokens


def test_generated_answers(sides):
    asked = [
        (text[:length], settings)
        for text in TEXTS
        for length in (3, 14, 40)
        for settings in (
            {"until": ["\n"], "max_gen_toks": 4},
            {"until": "e", "max_gen_toks": 12, "do_sample": False, "temperature": 0.0},
            {"max_new_tokens": 2},
        )
    ]
    ours, theirs = (side.generate_until(requests("generate_until", asked)) for side in sides)
    # An untrained model writes broken bytes, which each shows in its own way; and hf drops the
    # space before a word that begins the answer.
    whole = [pair for pair in zip(ours, theirs, strict=True) if "\ufffd" not in pair[1]]
    assert [a.strip() for a, _ in whole] == [b.strip() for _, b in whole]
    assert any(a for a, _ in whole)


def test_a_task_gives_the_same_accuracy(models, tmp_path):
    from lm_eval.tasks import TaskManager

    from hanlin.evaluation.lm_eval_bridge import HanlinLM

    folder, _ = models["tiny"]
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


@pytest.mark.slow
def test_the_command_line_runs_a_task(models, tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(q, ensure_ascii=False) + "\n" for q in QUESTIONS))
    (tmp_path / "made_up.yaml").write_text(TASK.replace("FILE", str(file)))
    done = subprocess.run(
        [sys.executable, "-m", "hanlin.evaluation.lm_eval_bridge", "--model", "hanlin",
         "--model_args", f"pretrained={models['tiny'][0]}", "--tasks", "hanlin_made_up",
         "--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "hanlin_made_up" in done.stdout
    [result] = (tmp_path / "out").rglob("*.json")
    assert json.loads(result.read_text())["results"]["hanlin_made_up"]["acc,none"] <= 1


def test_the_tokens_are_those_of_the_engine(models):
    from hanlin.evaluation.lm_eval_bridge import HanlinLM

    folder, _ = models["tiny"]
    bridge, engine = HanlinLM(str(folder)), open_engine(str(folder))
    assert bridge.tok_encode("书") == [1, *engine.tokenizer.encode("书", at_start=True)]
    assert HanlinLM(str(folder), add_bos_token=False).tok_encode("书")[0] != 1


def test_sampled_answers_follow_the_task(models):
    from hanlin.evaluation.lm_eval_bridge import HanlinLM

    bridge = HanlinLM(str(models["tiny"][0]))
    hot = {"do_sample": True, "temperature": 1.5, "max_gen_toks": 20}
    cold = {"do_sample": False, "temperature": 1.5, "max_gen_toks": 20}
    first, again, greedy = bridge.generate_until(
        requests("generate_until", [("The", hot), ("The", {**hot}), ("The", cold)])
    )
    plain = ("The", {"max_gen_toks": 20})
    assert bridge.generate_until(requests("generate_until", [plain])) == [greedy]
    assert greedy not in (first, again)


def test_chat_templates_are_refused(models):
    from hanlin.evaluation.lm_eval_bridge import HanlinLM

    with pytest.raises(ConfigError) as error:
        HanlinLM(str(models["tiny"][0])).apply_chat_template([{"role": "user", "content": "你好"}])
    assert "hanlin eval run MODEL --protocol chat" in str(error.value)


def test_a_backend_that_cannot_tell_greedy_answers_says_so(models, monkeypatch, caplog):
    from hanlin.evaluation.lm_eval_bridge import HanlinLM

    bridge = HanlinLM(str(models["tiny"][0]))

    class Plain:
        """An engine that scores only, as the llama.cpp and server backends do."""

        tokenizer, max_length = bridge._engine.tokenizer, 512
        score = staticmethod(bridge._engine.score)

    expected = bridge.loglikelihood(requests("loglikelihood", PAIRS[:3]))
    monkeypatch.setattr(bridge, "_engine", Plain())
    with caplog.at_level(logging.WARNING):
        found = bridge.loglikelihood(requests("loglikelihood", PAIRS[:3]))
    assert [a for a, _ in found] == [a for a, _ in expected]
    assert "does not tell whether an answer is the greedy one" in caplog.text
