"""Any causal language model of transformers is tuned, and any rows in one mix."""

import json
from collections import Counter

import pytest
import torch
import transformers

from hanlin.core.events import read_events
from hanlin.data import prepare_chat
from hanlin.data.pack import PackedRows
from hanlin.data.store import TokenStore
from hanlin.models.load import load_model
from hanlin.models.save import save_model
from hanlin.tokenization.load import load
from hanlin.training import finetune
from training_world import run_stage, write_rows

SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64,
}  # fmt: skip
CONFIGS = {
    "mistral": (transformers.MistralConfig, {"sliding_window": 24}),
    "qwen3": (transformers.Qwen3Config, {"tie_word_embeddings": True}),
    "gemma2": (transformers.Gemma2Config, {"sliding_window": 24, "query_pre_attn_scalar": 16}),
}
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def models(world, tmp_path_factory):
    """A random model of each family, with the world's tokenizer."""
    folder, tokenizer = tmp_path_factory.mktemp("families"), load(world.model)
    for name, (config, more) in CONFIGS.items():
        torch.manual_seed(0)
        made = config(vocab_size=tokenizer.vocab_size, **SHAPE, **more)
        model = transformers.AutoModelForCausalLM.from_config(made).float().eval()
        save_model(model, tokenizer, folder / name)
    return folder


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_other_families_learn(world, models, tmp_path, caplog, name, method):
    schedule = {"steps": 16, "learning_rate": 1e-2, "gradient_accumulation_steps": 1}
    values = world.inputs("finetune", method=method, schedule=schedule, try_answers=0)
    values["model"] = str(models / name)
    context = run_stage(finetune, values, tmp_path / "out")
    found = [e["loss"] for e in read_events(context.events.path) if e["event"] == "metric"]
    assert sum(found[-4:]) < sum(found[:4])
    assert "computes its loss in a way of its own" not in caplog.text  # chunks give the same loss
    if method == "full":
        assert load_model(context.out / "model").config.model_type == name
    else:
        config = json.loads((context.out / "adapter" / "adapter_config.json").read_text())
        assert {name.rpartition(".")[2] for name in config["target_modules"]} == LINEAR


def test_all_kinds_of_rows_in_one_weighted_mix(world, tmp_path):
    rows = {
        "instruct": [{"instruction": "the old", "input": "河", "output": "古城"}],
        "chat": [{"messages": [{"role": r, "content": "书 book"} for r in
                               ("user", "assistant", "user", "assistant")]}],
        "facts": [{"instruction": "谁写了书？", "output": '{"写": [["老师", "书"]]}'}],
    }  # fmt: skip
    for name, own in rows.items():
        write_rows(tmp_path / f"{name}.jsonl", own * 20)
    weights = {"instruct": 1.0, "chat": 2.0, "facts": 1.0}
    sources = [
        {"path": str(tmp_path / f"{name}.jsonl"), "name": name, "weight": weight}
        for name, weight in weights.items()
    ]
    replay = [{"path": str(world.corpus), "name": "texts", "weight": 4.0}]
    values = {
        "sources": sources, "replay": replay, "tokenizer": str(world.model), "seq_len": 96,
    }  # fmt: skip
    store = run_stage(prepare_chat, values, tmp_path / "made").out / "store"
    packed, tokens = PackedRows(TokenStore.open(store), seq_len=96, seed=0), Counter()
    for index in range(4 * packed.rows_per_epoch):
        for piece in packed.pieces(index):
            tokens[packed.store.sources[piece.source].name] += piece.length
    for name, weight in {**weights, "texts": 4.0}.items():
        assert tokens[name] / tokens.total() == pytest.approx(weight / 8, abs=0.04)
    values = world.inputs("finetune", schedule={"steps": 2, "seq_len": 96}, try_answers=2)
    context = run_stage(finetune, {**values, "store": str(store)}, tmp_path / "out")
    (answers,) = [e for e in read_events(context.events.path) if e["event"] == "answers"]
    assert answers["asked"] == 2
