"""Several adapters: sums and stacks, what they do, and which cannot be had."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.files import write_json
from hanlin.models.manifest import weights_sha256, write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.weights.merge.merge import Config, merge

PREFIX = "base_model.model."
Q = "model.layers.0.self_attn.q_proj"
EMBEDDING = "model.embed_tokens"
DELTA = f"{EMBEDDING}.token_adapter.trainable_tokens_delta"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"))


def low_rank(seed, module=Q):
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{module}.lora_A.weight": torch.randn(2, 32, generator=generator),
        f"{module}.lora_B.weight": torch.randn(32, 2, generator=generator),
    }


def adapter(folder, tensors, **config):
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "bias": "none",
        "init_lora_weights": True, "target_modules": ["q_proj"], "layers_to_transform": [0],
    }  # fmt: skip
    write_json(folder / "adapter_config.json", {**settings, **config})
    named = {PREFIX + name: tensor for name, tensor in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    return folder


def rows(folder, indices, value=1.0):
    delta = torch.full((len(indices), 32), value)
    return adapter(folder, {DELTA: delta}, trainable_token_indices=indices)


def run(base, first, out, **settings):
    settings = {"check_logits": False, **settings}
    return merge(Config(base=str(base), adapter=str(first), **settings), out)


def also(*folders, **more):
    return [{"adapter": str(folder), **more} for folder in folders]


def tensors_of(model):
    return load_file(model / "model.safetensors")


def test_the_order_of_a_sum_does_not_matter(base, tmp_path):
    one, two = adapter(tmp_path / "1", low_rank(1)), adapter(tmp_path / "2", low_rank(2))
    run(base, one, tmp_path / "a", also=also(two))
    run(base, two, tmp_path / "b", also=also(one))
    left, right = (tensors_of(tmp_path / name)[f"{Q}.weight"] for name in "ab")
    torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-6)


def test_a_weight_of_minus_one_takes_the_adapter_away(base, tmp_path):
    one = adapter(tmp_path / "1", low_rank(1))
    run(base, one, tmp_path / "with")
    run(tmp_path / "with", one, tmp_path / "without", weight=-1, any_base=True)
    before, after = (tensors_of(folder)[f"{Q}.weight"] for folder in (base, tmp_path / "without"))
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


def test_rows_of_two_adapters_are_joined(base, tmp_path):
    one, two = rows(tmp_path / "1", [3, 4], 1.0), rows(tmp_path / "2", [5], 2.0)
    run(base, one, tmp_path / "out", also=also(two, weight=0.5))
    before, after = tensors_of(base), tensors_of(tmp_path / "out")
    name = f"{EMBEDDING}.weight"
    assert torch.equal(after[name][[3, 4]], torch.ones(2, 32))
    torch.testing.assert_close(after[name][5], before[name][5] * 0.5 + 1.0)
    untouched = [index for index in range(len(before[name])) if index not in (3, 4, 5)]
    assert torch.equal(before[name][untouched], after[name][untouched])


def test_rows_that_both_bring_are_refused_by_name(base, tmp_path):
    one, two = rows(tmp_path / "1", [3, 4]), rows(tmp_path / "2", [4, 5])
    with pytest.raises(InputError) as caught:
        run(base, one, tmp_path / "out", also=also(two))
    assert f"both change row 4 of '{EMBEDDING}.weight'" in str(caught.value)
    assert str(one) in str(caught.value) and str(two) in str(caught.value)
    assert "--then" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_the_later_of_two_stacked_adapters_has_the_last_word(base, tmp_path):
    one, two = rows(tmp_path / "1", [3, 4], 1.0), rows(tmp_path / "2", [4, 5], 2.0)
    run(base, one, tmp_path / "out", then=also(two))
    table = tensors_of(tmp_path / "out")[f"{EMBEDDING}.weight"]
    assert table[[3, 4, 5], 0].tolist() == [1.0, 2.0, 2.0]


def test_whole_matrices_have_no_sum(base, tmp_path):
    whole = {f"{Q}.weight": torch.ones(32, 32)}
    one, two = adapter(tmp_path / "1", whole), adapter(tmp_path / "2", low_rank(2))
    with pytest.raises(InputError, match=f"both change all of '{Q}.weight'"):
        run(base, one, tmp_path / "out", also=also(two))
    with pytest.raises(InputError) as caught:
        run(base, one, tmp_path / "out", weight=0.5)
    assert "cannot count 0.5 times" in str(caught.value)
    assert "give it the weight 1" in caught.value.fix
    run(base, one, tmp_path / "out", then=also(two))
    delta = low_rank(2)
    wanted = 1 + delta[f"{Q}.lora_B.weight"] @ delta[f"{Q}.lora_A.weight"] * 2
    assert torch.equal(tensors_of(tmp_path / "out")[f"{Q}.weight"], wanted)


def test_rows_and_low_rank_of_one_table_have_no_sum(base, tmp_path):
    rank = {
        f"{EMBEDDING}.lora_embedding_A": torch.ones(
            2, len(tensors_of(base)[f"{EMBEDDING}.weight"])
        ),
        f"{EMBEDDING}.lora_embedding_B": torch.ones(32, 2),
    }
    one, two = rows(tmp_path / "1", [3]), adapter(tmp_path / "2", rank)
    with pytest.raises(InputError, match=f"both change rows of '{EMBEDDING}.weight'"):
        run(base, one, tmp_path / "out", also=also(two))


def test_what_an_adapter_says_of_its_base_is_checked_at_its_place(base, tmp_path):
    one, two = adapter(tmp_path / "1", low_rank(1)), adapter(tmp_path / "2", low_rank(2))
    trained_on = {"hub_id": None, "weights_sha256": weights_sha256(base)}
    write_manifest(two, base=trained_on)
    run(base, one, tmp_path / "sum", also=also(two))
    with pytest.raises(InputError) as caught:
        run(base, one, tmp_path / "out", then=also(two))
    assert "not on top of another adapter" in str(caught.value)
    assert "--also instead of --then" in caught.value.fix
    write_manifest(two, base={**trained_on, "weights_sha256": "0" * 64})
    run(base, one, tmp_path / "out", then=also(two))
    with pytest.raises(InputError, match=f"{two} was trained on other weights"):
        run(base, one, tmp_path / "other", also=also(two))


def test_what_peft_cannot_weigh_is_merged_unchecked_and_said(base, tmp_path):
    one = rows(tmp_path / "1", [3])
    report = run(base, one, tmp_path / "out", weight=0.5, check_logits="auto")
    assert report.check is None
    assert "it is not all low-rank" in report.unchecked and "0.5 times" in report.unchecked


def test_a_tied_matrix_taken_apart_by_one_of_two_adapters(tmp_path):
    """Rows that stand for embeddings and lm_head meet a change of the lm_head alone."""
    tied = make_tiny(tmp_path / "tied", tie=True)
    count = len(tensors_of(tied)[f"{EMBEDDING}.weight"])
    head = {
        "lm_head.lora_A.weight": torch.ones(2, 32),
        "lm_head.lora_B.weight": torch.ones(count, 2),
    }
    one, two = adapter(tmp_path / "1", head), rows(tmp_path / "2", [3])
    with pytest.raises(InputError, match=r"both change rows of 'lm_head.weight'"):
        run(tied, one, tmp_path / "out", also=also(two))
    report = run(tied, one, tmp_path / "out", then=also(two), check_logits="auto")
    assert "put several adapters on a tied model" in report.unchecked
    before, after = tensors_of(tied)[f"{EMBEDDING}.weight"], tensors_of(tmp_path / "out")
    torch.testing.assert_close(after["lm_head.weight"], before + 4)
    assert torch.equal(after[f"{EMBEDDING}.weight"][3], torch.ones(32))
