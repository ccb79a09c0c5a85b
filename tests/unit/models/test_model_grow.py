import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext
from hanlin.models.grow import STAGE, Config, grow, grow_rows, old_parts
from hanlin.models.load import load_model, load_pair
from hanlin.models.manifest import read_manifest, write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.tokenization.extend import extend, write
from hanlin.tokenization.load import load

TABLES = ("model.embed_tokens.weight", "lm_head.weight")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("models") / "base", texts=["the old town"] * 9)


@pytest.fixture(scope="module")
def extended(base, tmp_path_factory):
    tokenizer = load(base)
    out = tmp_path_factory.mktemp("models") / "extended"
    write(tokenizer, extend(tokenizer, ["河", "流", "古", "城", "河流", "古城", "流河"]), out)
    return out


def test_old_rows_and_all_other_tensors_keep_every_bit(base, extended, tmp_path):
    grown = load_file(grow(base, extended, out=tmp_path / "grown") / "model.safetensors")
    before = load_file(base / "model.safetensors")
    assert grown.keys() == before.keys()
    for name, tensor in before.items():
        kept = grown[name][: len(tensor)] if name in TABLES else grown[name]
        assert kept.numpy().tobytes() == tensor.numpy().tobytes(), name
    model, tokenizer = load_pair(tmp_path / "grown")
    assert model.config.vocab_size == tokenizer.vocab_size == load(base).vocab_size + 7
    assert read_manifest(tmp_path / "grown")["tokenizer_sha256"] == tokenizer.sha256


def test_logits_of_old_tokens_stay(base, extended, tmp_path):
    grow(base, extended, out=tmp_path / "grown")
    old, tokenizer = load_pair(base)
    new, _ = load_pair(tmp_path / "grown")
    ids = torch.tensor([tokenizer.encode("the old town", at_start=True)])
    assert torch.equal(new(ids).logits[..., : tokenizer.vocab_size], old(ids).logits)


def test_new_rows_are_means_of_the_old_tokens(base, extended, tmp_path):
    grown = load_file(grow(base, extended, out=tmp_path / "grown") / "model.safetensors")
    before, old, new = load_file(base / "model.safetensors"), load(base), load(extended)
    parts = old_parts(old, new)
    assert parts[0] == [old.vocabulary[f"<0x{byte:02X}>"] for byte in "河".encode()]
    for name in TABLES:
        for index, ids in enumerate(parts[:4]):  # the last ones have a twin: 河流 and 流河
            row = grown[name][old.vocab_size + index]
            torch.testing.assert_close(row, before[name][ids].mean(0))
        assert len({tuple(row) for row in grown[name].tolist()}) == len(grown[name])


def test_a_tied_model_stays_tied(extended, tmp_path):
    base = make_tiny(tmp_path / "tied", texts=["the old town"] * 9, tie=True)
    model = load_model(grow(base, extended, out=tmp_path / "grown"))
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert model.lm_head.weight.shape[0] == load(extended).vocab_size


def test_shards_keep_their_type_and_the_index_its_sum(base, extended, tmp_path):
    sharded = tmp_path / "sharded"
    load_model(base, dtype="bfloat16").save_pretrained(sharded, max_shard_size="40KB")
    load(base).save(sharded)
    assert len(list(sharded.glob("*.safetensors"))) > 1
    grown = grow(sharded, extended, out=tmp_path / "grown")
    index = json.loads((grown / "model.safetensors.index.json").read_text())
    tensors = [t for file in grown.glob("*.safetensors") for t in load_file(file).values()]
    assert {t.dtype for t in tensors} == {torch.bfloat16}
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors)
    load_pair(grown, dtype="bfloat16")


def test_rows_kept_for_padding_are_used_first():
    rows_VD = torch.arange(20.0).reshape(10, 2)
    grown_WD = grow_rows(rows_VD, known=6, parts=[[0, 2], [5]])
    assert grown_WD.shape == (10, 2)
    assert torch.equal(grown_WD[:6], rows_VD[:6])
    assert torch.equal(grown_WD[6:8], torch.tensor([[2.0, 3.0], [10.0, 11.0]]))
    assert torch.equal(grown_WD[8:], rows_VD[8:])


def test_no_row_is_zero():
    rows_VD = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0]])
    for init in ("mean", "random"):
        grown_WD = grow_rows(rows_VD, known=3, parts=[[0], [], [0, 0]], init=init)
        assert (grown_WD[3:] != 0).any(1).all()
        assert len({tuple(row) for row in grown_WD.tolist()}) == 6


def test_random_rows_follow_the_seed():
    rows_VD = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    made = [grow_rows(rows_VD, known=50, parts=[[1]] * 9, init="random", seed=s) for s in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_two_runs_of_the_stage_give_the_same_bytes(base, extended, tmp_path):
    config = Config(model=str(base), tokenizer=str(extended))
    for name in ("a", "b"):
        context = StageContext("grow", tmp_path / name, 0, EventLog(tmp_path / "events.jsonl"))
        STAGE.run(config, context)
    for file in sorted((tmp_path / "a" / "model").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / "model" / file.name).read_bytes(), file
    assert STAGE.estimate(config).disk_bytes > (base / "model.safetensors").stat().st_size
    assert STAGE.estimate(Config(model="owner/name", tokenizer="t")).disk_bytes is None


def test_a_tokenizer_that_is_no_extension(base, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["lanterns are lit"] * 9)
    with pytest.raises(InputError, match="does not extend the one in") as caught:
        grow(base, other, out=tmp_path / "grown")
    assert "there and" in caught.value.why
    assert "hanlin tokenizer extend" in caught.value.fix
    assert not (tmp_path / "grown").exists()


def test_a_smaller_tokenizer_is_no_extension(base, extended, tmp_path):
    grow(base, extended, out=tmp_path / "grown")
    with pytest.raises(InputError, match="does not extend the one in") as caught:
        grow(tmp_path / "grown", base, out=tmp_path / "again")
    assert "entries, the old one" in caught.value.why


def test_a_model_that_had_another_tokenizer(extended, tmp_path):
    base = make_tiny(tmp_path / "base", texts=["the old town"] * 9)
    write_manifest(base, tokenizer_sha256="0" * 64)
    with pytest.raises(InputError, match="is not the one that"):
        grow(base, extended, out=tmp_path / "grown")


def test_a_folder_that_is_no_model(base, extended, tmp_path):
    with pytest.raises(InputError, match=r"is not a model: it has no config\.json"):
        grow(extended, extended, out=tmp_path / "grown")


def test_weights_with_other_names(base, extended, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["the old town"] * 9)
    save_file({"wte": torch.zeros(2, 2)}, other / "model.safetensors")
    with pytest.raises(InputError, match=r"no tensor named 'model\.embed_tokens\.weight'"):
        grow(other, extended, out=tmp_path / "grown")


def test_damaged_weights(extended, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["the old town"] * 9)
    (other / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="is no readable safetensors file"):
        grow(other, extended, out=tmp_path / "grown")


def test_a_tokenizer_that_adds_nothing_is_refused(tmp_path):
    model = make_tiny(tmp_path / "model")
    with pytest.raises(InputError, match="adds no piece"):
        grow(model, model, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
