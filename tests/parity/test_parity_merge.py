"""Does the streamed merge give what peft's merge_and_unload gives, bit for bit in float32?"""

import peft
import pytest
import torch

from hanlin.core.files import read_json, write_json
from hanlin.models.load import load_model
from hanlin.models.tiny import make_tiny
from hanlin.weights.merge.check import compare_logits
from hanlin.weights.merge.inputs import open_inputs
from hanlin.weights.merge.merge import Config, merge

ROWS = [5, 300, 301, 302]
LINEAR = ["q_proj", "v_proj", "down_proj"]
LOGITS = 1e-5  # what merged and adapter logits may differ by in float32

CASES = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "one alpha differs": {"alpha_pattern": {"layers.1.self_attn.q_proj": 32}},
    "one rank differs": {"rank_pattern": {"down_proj": 2}, "lora_alpha": 6},
    "dora": {"use_dora": True},
    "dora, rslora": {"use_dora": True, "use_rslora": True, "rank_pattern": {"v_proj": 3}},
    "rows of both matrices": {"trainable_token_indices": {"embed_tokens": ROWS, "lm_head": ROWS}},
    "rows of the embeddings": {"trainable_token_indices": ROWS},
    "rows beside dora": {"trainable_token_indices": ROWS, "use_dora": True},
    "whole matrices": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "a norm": {"modules_to_save": ["norm"]},
    "head by low rank": {"target_modules": ["q_proj", "lm_head"]},
    "head by dora": {"target_modules": ["q_proj", "lm_head"], "use_dora": True},
    "embeddings by low rank": {"target_modules": ["q_proj", "embed_tokens"]},
    "half precision adapter": {"dtype": torch.bfloat16},
}


def make_adapter(base, out, *, seed=1, dtype=None, **options):
    """Train nothing: give every adapter weight a random value, as training would."""
    settings = {"target_modules": LINEAR, "lora_alpha": 8, **options}
    model = peft.get_peft_model(
        load_model(base), peft.LoraConfig(r=4, task_type="CAUSAL_LM", **settings)
    )
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        noise = torch.randn(parameter.shape, generator=generator) * 0.1
        if "magnitude" in name:
            parameter.data.mul_(1 + noise)
        else:
            parameter.data.add_(noise)
        if dtype is not None:
            parameter.data = parameter.data.to(dtype)
    model.save_pretrained(str(out))
    return out


def merged_by_peft(base, adapter, *, dtype="float32"):
    model = peft.PeftModel.from_pretrained(load_model(base, dtype=dtype), str(adapter))
    return model.merge_and_unload().state_dict()


def merged(base, adapter, out, **settings):
    """Merge with Hanlin; return the report."""
    return merge(Config(base=str(base), adapter=str(adapter), **settings), out)


def different(ours, theirs):
    assert ours.keys() == theirs.keys()
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tied"), tie=True)


@pytest.mark.parametrize("case", CASES)
def test_untied_merge_has_the_bits_of_peft(base, tmp_path, case):
    adapter = make_adapter(base, tmp_path / "adapter", **CASES[case])
    report = merged(base, adapter, tmp_path / "out")
    ours, theirs = load_model(tmp_path / "out").state_dict(), merged_by_peft(base, adapter)
    assert different(ours, theirs) == []
    assert report.changed >= 3
    assert report.check.is_ok and report.check.max_difference < LOGITS


def test_dora_of_the_embeddings_is_that_of_peft(base, tmp_path):
    adapter = make_adapter(
        base, tmp_path / "adapter", target_modules=["q_proj", "embed_tokens"], use_dora=True
    )
    report = merged(base, adapter, tmp_path / "out")
    ours, theirs = load_model(tmp_path / "out").state_dict(), merged_by_peft(base, adapter)
    # The lengths of whole columns, summed up block by block: the last bits differ.
    assert different(ours, theirs) in ([], ["model.embed_tokens.weight"])
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-6, atol=1e-6)
    assert report.check.max_difference < LOGITS


def make_biased(folder):
    """A tiny model whose attention has biases, as Qwen's."""
    from hanlin.models.save import save_model
    from hanlin.models.tiny import Architecture, new_llama
    from hanlin.tokenization.load import load

    make_tiny(folder)
    tokenizer = load(folder)
    shape = Architecture(hidden_size=32, layers=2, heads=2, max_length=512)
    config = new_llama(shape, tokenizer.vocab_size, 0).config
    config.attention_bias = True
    torch.manual_seed(0)
    model = type(new_llama(shape, 8, 0))(config).float().eval()
    return save_model(model, tokenizer, folder)


@pytest.mark.parametrize(
    "options",
    [
        {"bias": "all"},
        {"bias": "lora_only"},
        {"lora_bias": True},
        {"bias": "all", "use_dora": True},
    ],
    ids=["all", "lora_only", "lora_bias", "with dora"],
)
def test_trained_biases_have_the_bits_of_peft(tmp_path, options):
    base = make_biased(tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "adapter", target_modules=["q_proj"], **options)
    report = merged(base, adapter, tmp_path / "out")
    ours, theirs = load_model(tmp_path / "out").state_dict(), merged_by_peft(base, adapter)
    assert different(ours, theirs) == []
    bias = "model.layers.0.self_attn.q_proj.bias"
    assert not torch.equal(ours[bias], load_model(base).state_dict()[bias])
    assert report.check.max_difference < LOGITS


@pytest.mark.parametrize(
    "rows", [ROWS, {"embed_tokens": ROWS, "lm_head": ROWS}], ids=["list", "mapping"]
)
def test_tied_rows_have_the_bits_of_peft(tied, tmp_path, rows):
    adapter = make_adapter(tied, tmp_path / "adapter", trainable_token_indices=rows)
    report = merged(tied, adapter, tmp_path / "out")
    ours, theirs = load_model(tmp_path / "out").state_dict(), merged_by_peft(tied, adapter)
    assert different(ours, theirs) == []
    assert torch.equal(ours["lm_head.weight"], ours["model.embed_tokens.weight"])
    assert report.check.max_difference < LOGITS


def test_whole_tied_matrix_has_the_bits_of_peft(tied, tmp_path):
    adapter = make_adapter(
        tied, tmp_path / "adapter", modules_to_save=["embed_tokens"], ensure_weight_tying=True
    )
    report = merged(tied, adapter, tmp_path / "out")
    ours, theirs = load_model(tmp_path / "out").state_dict(), merged_by_peft(tied, adapter)
    assert different(ours, theirs) == []
    assert report.check.max_difference < LOGITS


TIED_APART = {
    "both whole": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "head by low rank": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings by low rank": {"target_modules": ["q_proj", "embed_tokens"]},
}


@pytest.mark.parametrize("case", TIED_APART)
def test_tied_matrix_that_was_trained_apart_becomes_two(tied, tmp_path, case):
    """peft's own merge writes both changes into the one matrix; the adapter says otherwise."""
    adapter = make_adapter(tied, tmp_path / "adapter", **TIED_APART[case])
    report = merged(tied, adapter, tmp_path / "out")
    assert read_json(tmp_path / "out" / "config.json")["tie_word_embeddings"] is False
    ours = load_model(tmp_path / "out")
    theirs = peft.PeftModel.from_pretrained(load_model(tied), str(adapter)).eval()
    ids = torch.tensor([[1, 5, 9, 300, 12]])
    difference = (ours(input_ids=ids).logits - theirs(input_ids=ids).logits).abs().max()
    assert difference < LOGITS and report.check.max_difference < LOGITS
    assert not torch.equal(ours.lm_head.weight, ours.model.embed_tokens.weight)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=["plain", "dora"])
def test_half_precision_base_keeps_its_type_and_rounds_once(base, tmp_path, dtype, options):
    half = tmp_path / "half"
    model = load_model(base, dtype=dtype)
    model.save_pretrained(str(half))
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        (half / name).write_bytes((base / name).read_bytes())
    adapter = make_adapter(half, tmp_path / "adapter", **options)
    report = merged(half, adapter, tmp_path / "out")
    exact = merged_by_peft(half, adapter)  # base in float32, so nothing is rounded on the way
    ours = load_model(tmp_path / "out", dtype=dtype).state_dict()
    wanted = getattr(torch, dtype)
    assert all(tensor.dtype == wanted for tensor in ours.values())
    assert different(ours, {name: tensor.to(wanted) for name, tensor in exact.items()}) == []
    assert different(ours, merged_by_peft(half, adapter, dtype=dtype)) == []
    assert read_json(tmp_path / "out" / "config.json")["dtype"] == dtype
    assert 0 < report.check.rounding_difference < report.check.tolerance


def test_matrices_of_many_blocks_have_the_bits_of_peft(tmp_path):
    """Blocks of rows and the whole matrix at once give the same bits, at real widths too."""
    from hanlin.models.tensors import TensorSpec
    from hanlin.weights.lora import LowRank
    from hanlin.weights.merge.apply import Term, changed_blocks

    class Held:
        def __init__(self, **tensors):
            self.read = tensors.__getitem__

    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1500, 2048, generator=generator) * 0.02
    a, b = torch.randn(16, 2048, generator=generator), torch.randn(1500, 16, generator=generator)
    m = torch.rand(1500, generator=generator) + 0.5
    held, spec = Held(a=a, b=b, m=m), TensorSpec("w", "F32", (1500, 2048))
    moved = weight + (b @ a) * 0.7
    rescaled = (m / torch.linalg.norm(moved, dim=1))[:, None] * moved
    for change, wanted in (
        (LowRank("a", "b", 0.7), moved),
        (LowRank("a", "b", 0.7, "m"), rescaled),
    ):
        for size in (1500, 700, 333):
            parts = changed_blocks(
                spec, lambda size=size: weight.clone().split(size), [[Term(change, held)]]
            )
            assert torch.equal(torch.cat(list(parts)), wanted)


def test_shards_hold_the_same_model(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    merged(base, adapter, tmp_path / "one", check_logits=False)
    merged(base, adapter, tmp_path / "many", max_shard_gb=6e-5, check_logits=False)
    assert len(list((tmp_path / "many").glob("model-*-of-*.safetensors"))) > 2
    one, many = (load_model(tmp_path / name).state_dict() for name in ("one", "many"))
    assert different(one, many) == []
    again = tmp_path / "again"  # and a sharded model can be a base
    merged(tmp_path / "many", make_adapter(base, tmp_path / "second"), again)
    digests = read_json(again / "tensors.json")["tensors"]
    assert len({entry["file"] for entry in digests.values()}) == 1


def test_pickled_base_and_adapter(base, tmp_path):
    """`pytorch_model.bin` and `adapter_model.bin`, as years ago."""
    from safetensors.torch import load_file

    old, adapter = tmp_path / "old", make_adapter(base, tmp_path / "adapter")
    merged(base, adapter, tmp_path / "wanted")
    old.mkdir()
    for file in base.iterdir():
        if file.suffix != ".safetensors":
            (old / file.name).write_bytes(file.read_bytes())
    torch.save(load_file(base / "model.safetensors"), old / "pytorch_model.bin")
    weights = adapter / "adapter_model.safetensors"
    torch.save(load_file(weights), adapter / "adapter_model.bin")
    weights.unlink()
    report = merged(old, adapter, tmp_path / "out")
    digests = [read_json(tmp_path / name / "tensors.json") for name in ("wanted", "out")]
    assert digests[0] == digests[1]
    assert report.check.max_difference < LOGITS
    assert (adapter / "adapter_model.bin").is_file() and not weights.exists()


@pytest.mark.parametrize("weights", [(1, 1), (0.7, 0.3), (1, -0.5)])
def test_weighted_sum_is_that_of_peft(base, tmp_path, weights):
    one = make_adapter(base, tmp_path / "one")
    two = make_adapter(base, tmp_path / "two", seed=2, target_modules=["q_proj", "up_proj"])
    report = merged(
        base, one, tmp_path / "out", weight=weights[0],
        also=[{"adapter": str(two), "weight": weights[1]}],
    )  # fmt: skip
    model = peft.PeftModel.from_pretrained(load_model(base), str(one), adapter_name="one")
    model.load_adapter(str(two), adapter_name="two")
    model.add_weighted_adapter(["one", "two"], list(weights), "sum", combination_type="cat")
    model.set_adapter("sum")
    theirs = model.merge_and_unload().state_dict()
    ours = load_model(tmp_path / "out").state_dict()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-6, atol=1e-6)
    assert report.changed == 8 and report.check.max_difference < LOGITS


@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=["plain", "dora"])
def test_stacked_adapters_are_those_of_peft(base, tmp_path, options):
    """The second is trained on the merged first, and DoRA measures what it finds."""
    one = make_adapter(base, tmp_path / "one", use_dora=True, trainable_token_indices=[5, 6])
    merged(base, one, tmp_path / "middle")
    two = make_adapter(
        tmp_path / "middle", tmp_path / "two", seed=2, trainable_token_indices=[6, 7], **options
    )
    report = merged(base, one, tmp_path / "out", then=[{"adapter": str(two)}])
    theirs = merged_by_peft(tmp_path / "middle", two)
    assert different(load_model(tmp_path / "out").state_dict(), theirs) == []
    assert report.check.max_difference < LOGITS


def test_dora_in_a_sum_measures_the_base(base, tmp_path):
    """W + the sum of what each made of W, less W."""
    one = make_adapter(base, tmp_path / "one", use_dora=True)
    two = make_adapter(base, tmp_path / "two", seed=2, use_dora=True)
    merged(base, one, tmp_path / "out", weight=0.5, also=[{"adapter": str(two), "weight": 0.25}])
    ours, before = load_model(tmp_path / "out").state_dict(), load_model(base).state_dict()
    first, second = merged_by_peft(base, one), merged_by_peft(base, two)
    for name, tensor in before.items():
        wanted = tensor + 0.5 * (first[name] - tensor) + 0.25 * (second[name] - tensor)
        torch.testing.assert_close(ours[name], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("tie", [False, True], ids=["untied", "tied"])
def test_wrong_scale_is_found_by_the_logits(base, tied, tmp_path, tie):
    base = tied if tie else base
    adapter = make_adapter(base, tmp_path / "adapter")
    config = read_json(adapter / "adapter_config.json")
    write_json(adapter / "adapter_config.json", {**config, "lora_alpha": 9})
    merged(base, adapter, tmp_path / "out", check_logits=False)
    write_json(adapter / "adapter_config.json", config)
    inputs = open_inputs(base, [[(adapter, 1.0)]], any_base=False, dequantize=False)
    assert not compare_logits(inputs, tmp_path / "out", probes=[[1, 5, 9, 300]]).is_ok
