"""Does the streamed merge give what peft's merge_and_unload gives, bit for bit in float32?"""

import pytest
import torch

from hanlin.core.files import read_json, write_json
from hanlin.models.load import load_model
from hanlin.models.tiny import make_tiny
from hanlin.weights.merge import merge_adapter

ROWS = [5, 300, 301, 302]

CASES = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "one alpha differs": {"alpha_pattern": {"layers.1.self_attn.q_proj": 32}},
    "one rank differs": {"rank_pattern": {"down_proj": 2}},
    "rows of both matrices": {"trainable_token_indices": {"embed_tokens": ROWS, "lm_head": ROWS}},
    "rows of the embeddings": {"trainable_token_indices": ROWS},
    "whole matrices": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "head by low rank": {"target_modules": ["q_proj", "lm_head"]},
}


def make_adapter(base, out, **options):
    """Train nothing: give every adapter weight a random value, as training would."""
    import peft

    settings = {"target_modules": ["q_proj", "v_proj", "down_proj"], **options}
    config = peft.LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **settings)
    model = peft.get_peft_model(load_model(base), config)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.save_pretrained(str(out))
    return out


def peft_merge(base, adapter):
    import peft

    model = peft.PeftModel.from_pretrained(load_model(base), str(adapter))
    return model.merge_and_unload().state_dict()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tied"), tie=True)


@pytest.mark.parametrize("case", CASES)
def test_untied_merge_has_the_bits_of_peft(base, tmp_path, case):
    adapter = make_adapter(base, tmp_path / "adapter", **CASES[case])
    report = merge_adapter(base, adapter, tmp_path / "out")
    ours, theirs = load_model(tmp_path / "out").state_dict(), peft_merge(base, adapter)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert report.changed >= 3
    assert report.check.is_ok and report.check.max_difference < 1e-4


@pytest.mark.parametrize(
    "rows", [ROWS, {"embed_tokens": ROWS, "lm_head": ROWS}], ids=["list", "mapping"]
)
def test_tied_rows_have_the_bits_of_peft(tied, tmp_path, rows):
    adapter = make_adapter(tied, tmp_path / "adapter", trainable_token_indices=rows)
    report = merge_adapter(tied, adapter, tmp_path / "out")
    ours, theirs = load_model(tmp_path / "out").state_dict(), peft_merge(tied, adapter)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert torch.equal(ours["lm_head.weight"], ours["model.embed_tokens.weight"])
    assert report.check.max_difference < 1e-4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_base_keeps_its_type_and_rounds_once(base, tmp_path, dtype):
    half = tmp_path / "half"
    model = load_model(base, dtype=dtype)
    model.save_pretrained(str(half))
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        (half / name).write_bytes((base / name).read_bytes())
    adapter = make_adapter(half, tmp_path / "adapter")
    report = merge_adapter(half, adapter, tmp_path / "out")
    exact = peft_merge(half, adapter)  # base weights in float32, so nothing is rounded on the way
    merged = load_model(tmp_path / "out", dtype=dtype).state_dict()
    wanted = getattr(torch, dtype)
    assert all(tensor.dtype == wanted for tensor in merged.values())
    assert [n for n in merged if not torch.equal(merged[n], exact[n].to(wanted))] == []
    assert 0 < report.check.rounding_difference < report.check.tolerance


def test_shards_hold_the_same_model(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    merge_adapter(base, adapter, tmp_path / "one", check_logits=False)
    merge_adapter(base, adapter, tmp_path / "many", max_shard_bytes=60_000, check_logits=False)
    assert len(list((tmp_path / "many").glob("model-*-of-*.safetensors"))) > 2
    one, many = (load_model(tmp_path / name).state_dict() for name in ("one", "many"))
    assert [name for name in one if not torch.equal(one[name], many[name])] == []
    again = tmp_path / "again"  # and a sharded model can be a base
    merge_adapter(tmp_path / "many", make_adapter(base, tmp_path / "second"), again)
    digests = read_json(again / "tensors.json")["tensors"]
    assert len({entry["file"] for entry in digests.values()}) == 1


def test_wrong_scale_is_found_by_the_logits(base, tmp_path):
    from hanlin.weights.merge_check import compare_logits

    adapter = make_adapter(base, tmp_path / "adapter")
    config = read_json(adapter / "adapter_config.json")
    write_json(adapter / "adapter_config.json", {**config, "lora_alpha": 9})
    merge_adapter(base, adapter, tmp_path / "out", check_logits=False)
    write_json(adapter / "adapter_config.json", config)
    check = compare_logits(
        base, adapter, tmp_path / "out", probes=[[1, 5, 9, 300]], dtype="float32"
    )
    assert not check.is_ok
