import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from hanlin.core.errors import ConfigError, StageFailedError
from hanlin.core.files import read_json, write_json
from hanlin.models.load import load_pair
from hanlin.models.tensors import open_checkpoint
from hanlin.training import finetune
from hanlin.training.adapters import Lora, add_lora, grown_ids, save_adapter
from hanlin.training.saved_adapter import check_saved, digest
from hanlin.weights.merge.merge import Config, merge
from training_world import run_stage


def with_adapter(folder, *, ids=(), seed=0, **settings):
    model, _ = load_pair(folder)
    return add_lora(model, Lora(rank=4, **settings), ids=list(ids), seed=seed)


def learn(model, *, steps=2):
    """A few real updates, so that B moves."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    ids = torch.arange(3, model.config.vocab_size)[None]  # the grown rows are the last
    for _ in range(steps):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.mark.parametrize("name", ["world", "tied_world"])
def test_saved_adapter_gives_the_same_logits_and_leaves_old_rows_alone(name, request, tmp_path):
    folder = request.getfixturevalue(name).model
    rows = load_pair(folder)[0].get_input_embeddings().weight.detach().clone()
    grown = range(len(rows) - 10, len(rows))
    model = learn(with_adapter(folder, ids=grown))
    save_adapter(model, tmp_path / "adapter", ids=grown, base=folder, base_name=None)

    again = PeftModel.from_pretrained(load_pair(folder)[0], str(tmp_path / "adapter")).eval()
    ids = torch.tensor([[1, 5, 6, int(grown[0]), int(grown[3])]])
    torch.testing.assert_close(again(input_ids=ids).logits, model(input_ids=ids).logits)
    merged = again.merge_and_unload().get_input_embeddings().weight
    assert torch.equal(merged[: grown[0]], rows[: grown[0]])
    assert not torch.equal(merged[grown[0] :], rows[grown[0] :])


def test_the_file_holds_the_adapter_and_the_grown_rows_and_nothing_else(world, tmp_path):
    rows = load_pair(world.model)[1].vocab_size
    grown = range(rows - 10, rows)
    model = learn(with_adapter(world.model, ids=grown))
    save_adapter(model, tmp_path, ids=grown, base=world.model, base_name=None)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert len(saved) == 2 + 2 * 7 * 2  # embeddings and lm_head; A and B of 7 layers in 2 blocks
    assert sorted({tensor.shape[0] for name, tensor in saved.items() if "delta" in name}) == [10]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_the_config_names_no_path_and_has_one_order(world, tmp_path):
    model = learn(with_adapter(world.model))
    save_adapter(model, tmp_path, ids=[], base=world.model, base_name="owner/name")
    text = (tmp_path / "adapter_config.json").read_text()
    config = json.loads(text)
    assert str(world.folder) not in text
    assert config["base_model_name_or_path"] == "owner/name"
    assert config["target_modules"] == sorted(config["target_modules"])
    assert list(config) == sorted(config)


def test_the_start_depends_on_the_seed_alone(world):
    def start(seed):
        model = with_adapter(world.model, seed=seed)
        return digest({n: p for n, p in model.named_parameters() if "lora_A" in n})

    one = start(1)
    torch.rand(7)
    assert start(1) == one
    assert start(2) != one


def test_chosen_layers_only(world):
    model = with_adapter(world.model, target_modules=["q_proj", "v_proj"])
    names = [name for name, _ in model.named_parameters() if "lora_A" in name]
    assert len(names) == 4
    assert all("q_proj" in name or "v_proj" in name for name in names)


def test_an_unknown_layer_is_refused(world):
    with pytest.raises(ConfigError) as caught:
        with_adapter(world.model, target_modules=["query"])
    assert "lora.target_modules ['query']: the model has no such layer" in str(caught.value)
    assert "q_proj" in str(caught.value)


def test_which_rows_are_grown():
    manifest = {"base_vocab_size": 7}
    assert grown_ids(Lora(), manifest, rows=10) == [7, 8, 9]
    assert grown_ids(Lora(), {}, rows=10) == []
    assert grown_ids(Lora(first_grown_row=8), manifest, rows=10) == [8, 9]
    assert grown_ids(Lora(grown_rows="freeze"), manifest, rows=10) == []
    with pytest.raises(ConfigError) as caught:
        grown_ids(Lora(first_grown_row=10), manifest, rows=10)
    assert "lora.first_grown_row is 10 but the tokenizer has 10 entries" in str(caught.value)


def test_an_adapter_that_learned_nothing_is_refused(world, tmp_path):
    with pytest.raises(StageFailedError) as caught:
        save_adapter(with_adapter(world.model), tmp_path, ids=[], base=world.model, base_name=None)
    assert "every lora_B is zero" in str(caught.value)


@pytest.mark.parametrize("damage", ["change", "lose"])
def test_a_file_that_is_not_what_was_trained_is_refused(world, tmp_path, damage):
    model = learn(with_adapter(world.model))
    save_adapter(model, tmp_path, ids=[], base=world.model, base_name=None)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    name = sorted(tensors)[0]
    if damage == "change":
        tensors[name][0, 0] += 1
    else:
        del tensors[name]
    save_file(tensors, file)
    with pytest.raises(StageFailedError) as caught:
        check_saved(model, tmp_path, ids=[], base=world.model)
    assert "is not what was trained" in str(caught.value)


@pytest.mark.parametrize("name", ["world", "tied_world"])
def test_rows_that_are_not_in_the_file_are_missed(name, request, tmp_path):
    folder = request.getfixturevalue(name).model
    model = learn(with_adapter(folder))  # trained without them
    with pytest.raises(StageFailedError) as caught:
        save_adapter(model, tmp_path, ids=[395, 396], base=folder, base_name=None)
    assert "does not hold the rows of the 2 grown pieces" in str(caught.value)
    assert "found none" in caught.value.why


def test_rows_under_other_ids_are_refused(world, tmp_path):
    model = learn(with_adapter(world.model, ids=[395, 396]))
    save_adapter(model, tmp_path, ids=[395, 396], base=world.model, base_name=None)
    config = read_json(tmp_path / "adapter_config.json")
    indices = {"embed_tokens": [394, 396], "lm_head": [395, 396]}
    write_json(tmp_path / "adapter_config.json", {**config, "trainable_token_indices": indices})
    with pytest.raises(StageFailedError, match="rows of the 2 grown pieces"):
        check_saved(model, tmp_path, ids=[395, 396], base=world.model)


@pytest.mark.parametrize("name", ["world", "tied_world"])
def test_an_old_row_that_changed_is_found(name, request, tmp_path):
    folder = request.getfixturevalue(name).model
    model = learn(with_adapter(folder, ids=[395, 396]))
    layer = model.get_input_embeddings().token_adapter.base_layer
    layer.weight.data[7, 0] += 1e-6
    with pytest.raises(StageFailedError) as caught:
        save_adapter(model, tmp_path, ids=[395, 396], base=folder, base_name=None)
    assert "row 7 of the base's 'model.embed_tokens.weight' changed" in str(caught.value)


@pytest.mark.parametrize("name", ["world", "tied_world"])
def test_grown_rows_are_trained_saved_reloaded_and_merged_without_loss(name, request, tmp_path):
    """From `finetune` to the merged model; only the grown rows of the two tables differ."""
    world = request.getfixturevalue(name)
    adapter = run_stage(finetune, world.inputs("finetune"), tmp_path / "tuned").out / "adapter"
    out = tmp_path / "merged"
    report = merge(Config(base=str(world.model), adapter=str(adapter)), out)
    assert report.check.max_difference < 1e-5

    model, tokenizer = load_pair(world.model)
    ids = torch.tensor([[1, 5, 6, tokenizer.vocab_size - 1, tokenizer.vocab_size - 4]])
    tuned = PeftModel.from_pretrained(model, str(adapter)).eval()
    merged, _ = load_pair(out)
    difference = (tuned(input_ids=ids).logits - merged(input_ids=ids).logits).abs().max()
    assert difference < 1e-5

    first = tokenizer.vocab_size - 10
    before, after = open_checkpoint(world.model), open_checkpoint(out)
    assert before.specs == after.specs
    for table in ("model.embed_tokens.weight", "lm_head.weight"):
        if table in before.specs:
            old, new = before.read(table), after.read(table)
            assert torch.equal(old[:first], new[:first])
            assert not torch.equal(old[first:], new[first:])
    for other in before.specs:
        if "norm" in other:
            assert torch.equal(before.read(other), after.read(other))
