import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.events import EventLog
from hanlin.core.files import read_json, write_json
from hanlin.core.stage import StageContext
from hanlin.models.grow import STAGE, Config, grow
from hanlin.models.load import load_model, load_pair
from hanlin.models.manifest import read_manifest, write_manifest
from hanlin.models.row_init import old_parts
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, make_tiny, new_llama
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.bpe_extend import extend_byte_bpe
from hanlin.tokenization.load import load
from hanlin.tokenization.sentencepiece_extend import extend, write
from hanlin.tokenization.special_tokens import with_special_tokens

TABLES = ("model.embed_tokens.weight", "lm_head.weight")


def grow_to(model, tokenizer, out, *, seed=0, **settings):
    return grow(Config(model=str(model), tokenizer=str(tokenizer), **settings), out, seed=seed)


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
    grown = load_file(grow_to(base, extended, tmp_path / "grown") / "model.safetensors")
    before = load_file(base / "model.safetensors")
    assert grown.keys() == before.keys()
    for name, tensor in before.items():
        kept = grown[name][: len(tensor)] if name in TABLES else grown[name]
        assert kept.numpy().tobytes() == tensor.numpy().tobytes(), name
    model, tokenizer = load_pair(tmp_path / "grown")
    assert model.config.vocab_size == tokenizer.vocab_size == load(base).vocab_size + 7
    assert read_manifest(tmp_path / "grown")["tokenizer_sha256"] == tokenizer.sha256


def test_logits_of_old_tokens_stay(base, extended, tmp_path):
    grow_to(base, extended, tmp_path / "grown")
    old, tokenizer = load_pair(base)
    new, _ = load_pair(tmp_path / "grown")
    ids = torch.tensor([tokenizer.encode("the old town", at_start=True)])
    assert torch.equal(new(ids).logits[..., : tokenizer.vocab_size], old(ids).logits)


def test_new_rows_are_means_of_the_old_tokens(base, extended, tmp_path):
    grown = load_file(grow_to(base, extended, tmp_path / "grown") / "model.safetensors")
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
    model = load_model(grow_to(base, extended, tmp_path / "grown"))
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert model.lm_head.weight.shape[0] == load(extended).vocab_size


def test_shards_keep_their_type_and_their_bits(base, extended, tmp_path):
    sharded = tmp_path / "sharded"
    load_model(base, dtype="bfloat16").save_pretrained(sharded, max_shard_size="40KB")
    load(base).save(sharded)
    assert len(list(sharded.glob("*.safetensors"))) > 1
    grown = grow_to(sharded, extended, tmp_path / "grown", max_shard_gb=4e-5)
    index = json.loads((grown / "model.safetensors.index.json").read_text())
    tensors = {k: t for file in grown.glob("*.safetensors") for k, t in load_file(file).items()}
    before = {k: t for file in sharded.glob("*.safetensors") for k, t in load_file(file).items()}
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors.values())
    assert len(set(index["weight_map"].values())) > 1
    assert tensors.keys() == before.keys() == read_json(grown / "tensors.json")["tensors"].keys()
    for name, tensor in before.items():
        assert torch.equal(tensors[name][: len(tensor)], tensor), name
    load_pair(grown, dtype="bfloat16")


def test_pytorch_bin_files_are_grown_without_running_code(base, extended, tmp_path):
    old = tmp_path / "old"
    load(base).save(old)
    (old / "config.json").write_bytes((base / "config.json").read_bytes())
    torch.save(load_file(base / "model.safetensors"), old / "pytorch_model.bin")
    grown = grow_to(old, extended, tmp_path / "grown")
    same = grow_to(base, extended, tmp_path / "same")
    assert (
        load_file(grown / "model.safetensors").keys()
        == load_file(same / "model.safetensors").keys()
    )
    for name, tensor in load_file(same / "model.safetensors").items():
        assert torch.equal(load_file(grown / "model.safetensors")[name], tensor)


def test_a_byte_level_tokenizer_with_pieces_of_characters(tmp_path):
    texts = ["the old town"] * 9
    base = load(train_byte_bpe(texts, vocab_size=270, out=tmp_path / "t"))
    shape = Architecture(hidden_size=32, layers=1, heads=2)
    model = save_model(new_llama(shape, base.vocab_size, 0), base, tmp_path / "model")
    new = extend_byte_bpe(base, ["河流古城"] * 3 + ["古城"] * 3, add=9).tokenizer
    new, _, _ = with_special_tokens(new, ["<end>"])
    new.save(tmp_path / "new")
    parts = old_parts(load(model), new)
    for index, ids in enumerate(parts[:-1], start=base.vocab_size):
        assert b"".join(map(base.bytes_of, ids)) == new.bytes_of(index)
    assert parts[-1] == []
    grown = grow_to(model, tmp_path / "new", tmp_path / "grown")
    rows = load_file(grown / "model.safetensors")["model.embed_tokens.weight"]
    assert rows.shape[0] == new.vocab_size and (rows[base.vocab_size :] != 0).any(1).all()
    load_pair(grown)


def test_rows_are_filled_up_to_a_multiple(base, extended, tmp_path):
    grown = grow_to(base, extended, tmp_path / "grown", pad_to_multiple=64)
    model, tokenizer = load_pair(grown)
    rows = model.get_input_embeddings().weight
    known = load(base).vocab_size
    assert len(rows) % 64 == 0 and len(rows) > tokenizer.vocab_size
    assert model.config.vocab_size == len(rows) == len(model.lm_head.weight)
    assert (rows[known:] != 0).any(1).all()
    assert len({tuple(row) for row in rows.tolist()}) == len(rows)
    again = grow_to(base, extended, tmp_path / "plain")
    plain = load_model(again).get_input_embeddings().weight
    assert torch.equal(rows[: len(plain)], plain)


def test_configs_get_the_size_and_keep_their_special_ids(base, extended, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in base.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    config = read_json(model / "config.json") | {"eos_token_id": [2, 7], "pad_token_id": None}
    write_json(model / "config.json", config)
    generation = read_json(model / "generation_config.json") | {"eos_token_id": [2, 7], "top_k": 5}
    write_json(model / "generation_config.json", generation)
    grown = grow_to(model, extended, tmp_path / "grown")
    after = read_json(grown / "config.json")
    assert after == config | {"vocab_size": load(extended).vocab_size, "pad_token_id": 0}
    assert read_json(grown / "generation_config.json") == generation


@pytest.mark.parametrize("init", ["mean", "exponential", "global-mean", "random"])
def test_no_row_is_zero_and_no_two_are_equal(base, extended, tmp_path, init):
    for name in ("a", "b"):
        grow_to(base, extended, tmp_path / name, init=init, seed=3)
    grown = [load_file(tmp_path / name / "model.safetensors") for name in ("a", "b")]
    known = load(base).vocab_size
    for name in TABLES:
        rows = grown[0][name]
        assert torch.equal(rows, grown[1][name])
        assert (rows[known:] != 0).any(1).all()
        assert len({tuple(row) for row in rows.tolist()}) == len(rows)
    assert not torch.equal(grown[0][TABLES[0]][known:], grown[0][TABLES[1]][known:])
    assert read_manifest(tmp_path / "a")["base_vocab_size"] == known


def test_what_was_interrupted_goes_on(base, extended, tmp_path):
    whole = grow_to(base, extended, tmp_path / "whole", max_shard_gb=3e-5)
    config = Config(model=str(base), tokenizer=str(extended), max_shard_gb=3e-5)
    steps = []

    def stop(done, total, text):
        steps.append(done)
        if done == total - 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grow(config, tmp_path / "grown", progress=stop)
    assert not (tmp_path / "grown").exists()
    kept = {f.name: f.stat().st_mtime_ns for f in tmp_path.rglob(".grown.work/out/*.safetensors")}
    assert kept
    grow(config, tmp_path / "grown")
    for file in whole.iterdir():
        assert (tmp_path / "grown" / file.name).read_bytes() == file.read_bytes()
    done = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "grown").glob("*.safetensors")}
    assert kept.items() <= done.items()


def test_an_existing_folder_is_replaced_only_if_asked(base, extended, tmp_path):
    config = Config(model=str(base), tokenizer=str(extended))
    out = grow(config, tmp_path / "grown")
    with pytest.raises(InputError, match="exists already"):
        grow(config, out)
    assert grow(config, out, force=True) == out


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
        grow_to(base, other, tmp_path / "grown")
    assert "there and" in caught.value.why
    assert "hanlin tokenizer extend" in caught.value.fix
    assert not (tmp_path / "grown").exists()


def test_a_smaller_tokenizer_is_no_extension(base, extended, tmp_path):
    grow_to(base, extended, tmp_path / "grown")
    with pytest.raises(InputError, match="does not extend the one in") as caught:
        grow_to(tmp_path / "grown", base, tmp_path / "again")
    assert "entries, the old one" in caught.value.why


def test_a_model_that_had_another_tokenizer(extended, tmp_path):
    base = make_tiny(tmp_path / "base", texts=["the old town"] * 9)
    write_manifest(base, tokenizer_sha256="0" * 64)
    with pytest.raises(InputError, match="is not the one that"):
        grow_to(base, extended, tmp_path / "grown")


def test_a_folder_that_is_no_model(base, extended, tmp_path):
    with pytest.raises(InputError, match=r"is not a model: it has no config\.json"):
        grow_to(extended, extended, tmp_path / "grown")


def test_weights_with_other_names(base, extended, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["the old town"] * 9)
    save_file({"wte": torch.zeros(2, 2)}, other / "model.safetensors")
    with pytest.raises(InputError, match=r"no tensor named 'model\.embed_tokens\.weight'"):
        grow_to(other, extended, tmp_path / "grown")


def test_damaged_weights(extended, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["the old town"] * 9)
    (other / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        grow_to(other, extended, tmp_path / "grown")


def test_a_tokenizer_that_adds_nothing_is_refused(tmp_path):
    model = make_tiny(tmp_path / "model")
    with pytest.raises(InputError, match="adds no piece"):
        grow_to(model, model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_another_family(base, tmp_path):
    other = train_byte_bpe(["the old town"] * 9, vocab_size=270, out=tmp_path / "other")
    with pytest.raises(InputError, match="is of another family than the one in") as caught:
        grow_to(base, other, tmp_path / "grown")
    assert "it is a byte-level tokenizer, the model's own is a SentencePiece" in caught.value.why
    assert "hanlin tokenizer extend" in caught.value.fix


def test_a_model_whose_tokenizer_was_replaced_already(base, extended, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["the old town"] * 9)
    load(extended).save(other)
    with pytest.raises(
        InputError, match=r"has \d+ rows in model.embed_tokens.weight but"
    ) as caught:
        grow_to(other, extended, tmp_path / "grown")
    assert "was replaced by an extended one" in caught.value.why
    assert "put the model's own tokenizer back" in caught.value.fix


def test_a_head_that_is_missing(base, extended, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["the old town"] * 9)
    tensors = load_file(other / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, other / "model.safetensors")
    with pytest.raises(InputError, match=r"no tensor named 'lm_head\.weight'") as caught:
        grow_to(other, extended, tmp_path / "grown")
    assert "hanlin weights convert" in caught.value.fix


@pytest.mark.parametrize(
    ("value", "what"), [(0.0, "holds nothing but zeros"), (float("nan"), "are not numbers")]
)
def test_rows_that_nothing_can_be_made_of(extended, tmp_path, value, what):
    other = make_tiny(tmp_path / "other", texts=["the old town"] * 9)
    tensors = load_file(other / "model.safetensors")
    tensors["lm_head.weight"].fill_(value)
    save_file(tensors, other / "model.safetensors")
    with pytest.raises(InputError, match=what) as caught:
        grow_to(other, extended, tmp_path / "grown")
    assert caught.value.why and caught.value.fix
    assert not (tmp_path / "grown").exists()


def test_quantized_tables_are_refused(extended, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["the old town"] * 9)
    tensors = load_file(other / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"].to(torch.int8)
    save_file(tensors, other / "model.safetensors")
    with pytest.raises(InputError, match=r"lm_head.weight is stored as I8") as caught:
        grow_to(other, extended, tmp_path / "grown")
    assert "float" in caught.value.why and "float16" in caught.value.fix
