"""Which adapters are understood, and what is said about the others."""

import pytest
import torch
from safetensors.torch import save_file

from hanlin.core.errors import InputError
from hanlin.core.files import write_json
from hanlin.models.tensors import TensorSpec
from hanlin.weights.lora import (
    Added,
    LowRank,
    Rows,
    Whole,
    is_apart,
    open_adapter,
    plan_changes,
)

PREFIX = "base_model.model."
Q = "model.layers.0.self_attn.q_proj"
EMBEDDING = "model.embed_tokens"
BASE = {
    spec.name: spec
    for spec in (
        TensorSpec(f"{EMBEDDING}.weight", "F32", (10, 4)),
        TensorSpec(f"{Q}.weight", "F32", (4, 4)),
        TensorSpec(f"{Q}.bias", "F32", (4,)),
        TensorSpec("lm_head.weight", "F32", (10, 4)),
    )
}
LORA = {f"{Q}.lora_A.weight": (2, 4), f"{Q}.lora_B.weight": (4, 2)}


def adapter(folder, shapes=LORA, **config):
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "init_lora_weights": True}
    write_json(folder / "adapter_config.json", {**settings, "bias": "none", **config})
    tensors = {PREFIX + name: torch.ones(shape) for name, shape in shapes.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def plan(folder, *, base=BASE, may_grow=False):
    return plan_changes(open_adapter(folder), base, may_grow=may_grow)


def taken_apart(folder):
    opened = open_adapter(folder)
    return is_apart(opened, plan_changes(opened, BASE))


def test_low_rank_scale_is_alpha_over_rank(tmp_path):
    assert plan(adapter(tmp_path)) == {
        f"{Q}.weight": LowRank(f"{PREFIX}{Q}.lora_A.weight", f"{PREFIX}{Q}.lora_B.weight", 4.0)
    }


def test_scale_of_rslora_and_of_patterns(tmp_path):
    rs = plan(adapter(tmp_path, use_rslora=True))[f"{Q}.weight"]
    assert rs.scale == pytest.approx(8 / 2**0.5)
    assert plan(adapter(tmp_path, alpha_pattern={"q_proj": 2}))[f"{Q}.weight"].scale == 1.0
    assert plan(adapter(tmp_path, alpha_pattern={"k_proj": 2}))[f"{Q}.weight"].scale == 4.0


def test_rows_and_whole_matrices(tmp_path):
    delta = f"{EMBEDDING}.token_adapter.trainable_tokens_delta"
    folder = adapter(
        tmp_path, {delta: (2, 4), "lm_head.weight": (10, 4)}, trainable_token_indices=[3, 9]
    )
    assert plan(folder) == {
        f"{EMBEDDING}.weight": Rows(PREFIX + delta, (3, 9)),
        "lm_head.weight": Whole(f"{PREFIX}lm_head.weight"),
    }


def test_old_name_of_saved_modules(tmp_path):
    folder = adapter(tmp_path, {"lm_head.modules_to_save.weight": (10, 4)})
    assert list(plan(folder)) == ["lm_head.weight"]


@pytest.mark.parametrize("end", ["", ".weight"])
def test_dora_by_either_name(tmp_path, end):
    name = f"{Q}.lora_magnitude_vector{end}"
    found = plan(adapter(tmp_path, {**LORA, name: (4,)}, use_dora=True))
    assert found[f"{Q}.weight"].magnitude == PREFIX + name


def test_biases_that_were_trained_or_added(tmp_path):
    whole = plan(adapter(tmp_path, {**LORA, f"{Q}.base_layer.bias": (4,)}, bias="lora_only"))
    assert whole[f"{Q}.bias"] == Whole(f"{PREFIX}{Q}.base_layer.bias")
    added = plan(adapter(tmp_path, {**LORA, f"{Q}.lora_B.bias": (4,)}, lora_bias=True))
    assert added[f"{Q}.bias"] == Added(f"{PREFIX}{Q}.lora_B.bias", 4.0)


def test_low_rank_embeddings_are_transposed(tmp_path):
    shapes = {f"{EMBEDDING}.lora_embedding_A": (2, 10), f"{EMBEDDING}.lora_embedding_B": (4, 2)}
    change = plan(adapter(tmp_path, shapes))[f"{EMBEDDING}.weight"]
    assert change.is_transposed and change.scale == 4.0


def test_whole_matrices_may_grow_where_the_tokenizer_comes_along(tmp_path):
    shapes = {f"{EMBEDDING}.weight": (12, 4), "lm_head.weight": (12, 4)}
    folder = adapter(tmp_path, shapes)
    assert sorted(plan(folder, may_grow=True)) == ["lm_head.weight", f"{EMBEDDING}.weight"]
    with pytest.raises(InputError, match=r"is for the shape \[12, 4\]"):
        plan(folder)


def test_pickled_weights_of_old(tmp_path):
    folder = adapter(tmp_path)
    (folder / "adapter_model.safetensors").unlink()
    torch.save({PREFIX + n: torch.ones(s) for n, s in LORA.items()}, folder / "adapter_model.bin")
    assert list(plan(folder)) == [f"{Q}.weight"]
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(InputError) as caught:
        open_adapter(folder)
    assert "but not its weights" in str(caught.value)
    assert "neither adapter_model.safetensors nor adapter_model.bin" in caught.value.why


def test_folder_that_is_no_adapter(tmp_path):
    with pytest.raises(InputError) as caught:
        open_adapter(tmp_path)
    assert "is not an adapter: it has no adapter_config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"peft_type": "LOHA"}, "it is of the type 'LOHA', not LORA"),
        ({"init_lora_weights": "pissa"}, "its start ('pissa') took a part out of the base"),
        ({"use_qalora": True}, "it sets use_qalora, which may change the formula"),
        ({"new_in_peft_9": {"x": 1}, "fan_in_fan_out": True}, "sets fan_in_fan_out, new_in_peft_9"),
    ],
)
def test_adapters_that_cannot_be_merged(tmp_path, config, why):
    with pytest.raises(InputError) as caught:
        open_adapter(adapter(tmp_path, **config))
    assert "cannot be merged" in str(caught.value) and why in str(caught.value)
    assert "PeftModel.merge_and_unload" in caught.value.fix


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"lora_alpha": None}, "lora_alpha: Input should be a valid number"),
        ({"lora_alpha": "8"}, "lora_alpha: Input should be a valid number"),
        ({"alpha_pattern": {"(": 4}}, "'(' is no regular expression"),
        ({"trainable_token_indices": [1, -1]}, "trainable_token_indices: Input should be"),
        ({"use_dora": "yes"}, "use_dora: Input should be a valid boolean"),
    ],
)
def test_settings_of_another_type(tmp_path, config, why):
    with pytest.raises(InputError, match="is no adapter's settings") as caught:
        open_adapter(adapter(tmp_path, **config))
    assert why in caught.value.why and "download" in caught.value.fix


def test_settings_that_are_no_table(tmp_path):
    folder = adapter(tmp_path)
    (folder / "adapter_config.json").write_text("[1]")
    with pytest.raises(InputError, match="is no adapter's settings") as caught:
        open_adapter(folder)
    assert caught.value.why == "it is a list, not a table of names and values"


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        ({f"{Q}.lora_magnitude_vector": (4,)}, "has no partner"),
        (
            {**LORA, f"{Q}.lora_magnitude_vector": (4,)},
            "its file holds DoRA's lora_magnitude_vector",
        ),
        ({**LORA, f"{Q}.lora_E": (4,)}, "is of an unknown kind"),
        ({f"{Q}.lora_B.weight": (4, 2)}, "has no lora_A beside it"),
        ({f"{Q}.lora_A.weight": (2, 4)}, "has no partner"),
        ({f"{Q}.base_layer.weight": (4, 4)}, "has no partner"),
        ({**LORA, f"{Q}.weight": (4, 4)}, "is changed in two ways"),
        (
            {f"{EMBEDDING}.token_adapter.trainable_tokens_delta": (2, 4)},
            "does not say which rows of 'model.embed_tokens' it holds",
        ),
        ({}, "holds no tensors"),
    ],
)
def test_tensors_that_are_not_understood(tmp_path, shapes, why):
    with pytest.raises(InputError) as caught:
        plan(adapter(tmp_path, shapes))
    assert why in str(caught.value)


def test_tensor_outside_of_the_model(tmp_path):
    save_file({"strange": torch.ones(1)}, adapter(tmp_path) / "adapter_model.safetensors")
    with pytest.raises(InputError, match="cannot be merged"):
        plan(tmp_path)


@pytest.mark.parametrize(
    ("shapes", "config", "what"),
    [
        (
            {f"{Q}.lora_A.weight": (2, 6), f"{Q}.lora_B.weight": (4, 2)}, {},
            "is for the shape [4, 6], but the base model has [4, 4]",
        ),
        ({"lm_head.weight": (12, 4)}, {}, "is for the shape [12, 4], but the base model has [10"),
        (
            {f"{EMBEDDING}.token_adapter.trainable_tokens_delta": (1, 4)},
            {"trainable_token_indices": [10]}, "is for the shape [1, 4]",
        ),
        ({"model.layers.7.mlp.up_proj.weight": (4, 4)}, {}, "which the base model does not have"),
    ],
)  # fmt: skip
def test_adapter_of_another_base(tmp_path, shapes, config, what):
    folder = adapter(tmp_path, shapes, base_model_name_or_path="llama-7b", **config)
    with pytest.raises(InputError) as caught:
        plan(folder)
    assert what in str(caught.value)
    assert "the adapter was trained on llama-7b" in str(caught.value)


def test_quantized_base(tmp_path):
    base = {**BASE, f"{Q}.weight": TensorSpec(f"{Q}.weight", "U8", (4, 4))}
    with pytest.raises(InputError, match="is quantized"):
        plan(adapter(tmp_path), base=base)


def test_dora_without_its_lengths(tmp_path):
    with pytest.raises(InputError, match="its file lacks DoRA's lora_magnitude_vector"):
        plan(adapter(tmp_path, use_dora=True))


@pytest.mark.parametrize("name", ["lm_head", EMBEDDING])
def test_one_of_two_tied_matrices_is_apart(tmp_path, name):
    assert taken_apart(adapter(tmp_path, {f"{name}.weight": (10, 4)}))


def test_tied_matrix_that_was_trained_tied(tmp_path):
    assert not taken_apart(
        adapter(tmp_path, {f"{EMBEDDING}.weight": (10, 4)}, ensure_weight_tying=True)
    )
    both = {f"{EMBEDDING}.weight": (10, 4), "lm_head.weight": (10, 4)}
    assert not taken_apart(adapter(tmp_path, both))  # saved twice, all ones in both
    rows = {f"{EMBEDDING}.token_adapter.trainable_tokens_delta": (1, 4)}
    assert not taken_apart(adapter(tmp_path, rows, trainable_token_indices=[3]))
