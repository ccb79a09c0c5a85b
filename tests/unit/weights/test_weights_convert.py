"""Converting between the layouts of Hugging Face and Meta."""

import pytest
import torch
from meta_folder import (
    cut,
    forward,
    params_of,
    read_shards,
    same_bits,
    state_of,
    write_meta_folder,
)
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.load import load_model, load_pair
from hanlin.models.tensors import MANIFEST, open_checkpoint
from hanlin.models.tiny import SAMPLE_TEXTS, make_tiny
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.tokenization.tiktoken import tiktoken_bytes
from hanlin.weights.convert.convert import Options, convert

LLAMA_1 = params_of(n_kv_heads=None, vocab_size=96, norm_eps=1e-6)
LLAMA_2 = params_of()
LLAMA_3 = params_of(rope_theta=500_000.0, ffn_dim_multiplier=1.3)
LLAMA_3_1 = LLAMA_3 | {"use_scaled_rope": True}


def digests(folder):
    tensors = read_json(folder / MANIFEST)["tensors"]
    return {name: entry["sha256"] for name, entry in tensors.items()}


def make_meta(tmp_path, params=LLAMA_2, *, name="meta", shards=1, embeddings=1, **state):
    return write_meta_folder(
        tmp_path / name, params, state_of(params, **state), shards=shards, embeddings=embeddings
    )


@pytest.fixture
def tiny(tmp_path):
    return make_tiny(tmp_path / "tiny", hidden_size=64, vocab_size=400)


def refusal(kind, *arguments, **options):
    with pytest.raises(kind) as caught:
        convert(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize(
    ("params", "embeddings"), [(LLAMA_1, 1), (LLAMA_2, 1), (LLAMA_3, 0), (LLAMA_3_1, 0)]
)
def test_logits_are_those_of_metas_formulas(tmp_path, params, embeddings, shards):
    folder = make_meta(tmp_path, params, shards=shards, embeddings=embeddings)
    convert(folder, tmp_path / "hf", Options("hf", max_length=20_000))
    model, ids = load_model(tmp_path / "hf"), [5, 1, 77, 30, 30, 2, 64, 9]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits, forward(params, state_of(params), ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shards", [1, 2, 4])
def test_meta_to_hf_and_back_is_bit_exact(tmp_path, dtype, shards):
    folder = make_meta(tmp_path, shards=shards, dtype=dtype, frequencies="model")
    convert(folder, tmp_path / "hf", Options("hf"))
    convert(tmp_path / "hf", tmp_path / "back", Options("meta", shards=shards))
    for old, new in zip(read_shards(folder), read_shards(tmp_path / "back"), strict=True):
        assert old.keys() == new.keys()
        assert all(same_bits(old[name], new[name]) for name in old)
    params = read_json(tmp_path / "back" / "params.json")
    assert params == read_json(folder / "params.json") | {"multiple_of": params["multiple_of"]}


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("tie", [False, True])
def test_hf_to_meta_and_back_is_bit_exact(tmp_path, tie, shards):
    model = make_tiny(tmp_path / "tiny", hidden_size=64, vocab_size=400, tie=tie)
    convert(model, tmp_path / "hf", Options("hf"))
    convert(model, tmp_path / "meta", Options("meta", shards=shards))
    convert(tmp_path / "meta", tmp_path / "back", Options("hf"))
    assert digests(tmp_path / "back") == digests(tmp_path / "hf")
    old, new = read_json(model / "config.json"), read_json(tmp_path / "back" / "config.json")
    kept = old.keys() - {"transformers_version"}
    assert {key: new.get(key) for key in kept} == {key: old[key] for key in kept}
    assert load_pair(tmp_path / "back")[1].sha256 == load_tokenizer(model).sha256


@pytest.mark.parametrize(("old", "new"), [(1, 4), (4, 2), (2, 1)])
def test_other_number_of_shards(tmp_path, old, new):
    folder = make_meta(tmp_path, shards=old, dtype=torch.float16)
    done = convert(folder, tmp_path / "out", Options("meta", shards=new))
    assert (done.layout, done.to, done.files) == ("meta", "meta", new)
    expected = cut(state_of(LLAMA_2, dtype=torch.float16), new)
    for want, got in zip(expected, read_shards(tmp_path / "out"), strict=True):
        assert want.keys() == got.keys()
        assert all(same_bits(want[name], got[name]) for name in want)


def test_llama_3_cuts_its_embeddings_by_rows(tmp_path):
    folder = make_meta(tmp_path, LLAMA_3, shards=2, embeddings=0)
    convert(folder, tmp_path / "out", Options("meta", shards=4))
    expected = cut(state_of(LLAMA_3), 4, embeddings=0)
    for want, got in zip(expected, read_shards(tmp_path / "out"), strict=True):
        assert all(same_bits(want[name], got[name]) for name in want)


@pytest.mark.parametrize(
    ("params", "frequencies", "length"),
    [
        (LLAMA_1, "layers", 2048),
        (LLAMA_2, "model", 4096),
        (params_of(rope_theta=1e6), None, 16_384),
        (LLAMA_3, None, 8192),
        (LLAMA_3_1, None, 131_072),
    ],
)
def test_context_of_each_version(tmp_path, params, frequencies, length):
    folder = make_meta(tmp_path, params, frequencies=frequencies)
    assert convert(folder, tmp_path / "hf", Options("hf")).max_length == length
    config = read_json(tmp_path / "hf" / "config.json")
    assert config["max_position_embeddings"] == length
    back = convert(tmp_path / "hf", tmp_path / "back", Options("meta"))
    assert back.max_length == length
    assert read_shards(folder)[0].keys() == read_shards(tmp_path / "back")[0].keys()


def test_length_that_is_given_survives_the_way_back(tmp_path):
    folder = make_meta(tmp_path)
    convert(folder, tmp_path / "hf", Options("hf", max_length=777))
    convert(tmp_path / "hf", tmp_path / "again", Options("meta"))
    assert convert(tmp_path / "again", tmp_path / "back", Options("hf")).max_length == 777


def test_rotary_scaling_of_llama_3_1_and_of_the_small_ones(tmp_path):
    untied = make_meta(tmp_path, LLAMA_3_1, name="untied")
    state = state_of(LLAMA_3_1)
    state["output.weight"] = state["tok_embeddings.weight"].clone()
    tied = write_meta_folder(tmp_path / "tied", LLAMA_3_1, state)
    for folder, factor in ((untied, 8.0), (tied, 32.0)):
        convert(folder, folder / "hf", Options("hf"))
        config = read_json(folder / "hf" / "config.json")
        assert config["rope_scaling"] == {
            "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        }  # fmt: skip
        assert config["tie_word_embeddings"] is (folder == tied)
        model = load_model(folder / "hf")
        assert model.config.rope_parameters["factor"] == factor
        ids = [3, 1, 4, 1, 5, 9, 2, 6] * 4
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        source = state if folder == tied else state_of(LLAMA_3_1)
        expected = forward(LLAMA_3_1, source, ids, factor=factor)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
        convert(folder / "hf", folder / "back", Options("meta"))
        written = read_json(folder / "back" / "params.json")
        assert written["use_scaled_rope"] is True
        assert written.get("rope_scaling_factor") == (32.0 if folder == tied else None)


def test_vocabulary_of_minus_one_is_that_of_the_tensors(tmp_path):
    params = params_of()
    folder = write_meta_folder(tmp_path / "meta", params | {"vocab_size": -1}, state_of(params))
    convert(folder, tmp_path / "hf", Options("hf"))
    assert read_json(tmp_path / "hf" / "config.json")["vocab_size"] == 96


def test_bin_checkpoint_becomes_safetensors(tmp_path, tiny):
    tensors = load_file(tiny / "model.safetensors")
    folder = tmp_path / "pickled"
    folder.mkdir()
    for file in tiny.iterdir():
        if file.name != "model.safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    torch.save(tensors, folder / "pytorch_model.bin")
    done = convert(folder, tmp_path / "out", Options("hf", max_shard_bytes=60_000))
    assert done.files > 1
    checkpoint = open_checkpoint(tmp_path / "out")
    assert all(same_bits(checkpoint.read(name), tensors[name]) for name in tensors)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
        assert (tmp_path / "out" / name).read_text(errors="replace") == (tiny / name).read_text(
            errors="replace"
        ), name


def test_other_dtype(tmp_path, tiny):
    done = convert(tiny, tmp_path / "out", Options("hf", dtype="bfloat16"))
    assert done.dtype == "bfloat16"
    assert read_json(tmp_path / "out" / "config.json")["dtype"] == "bfloat16"
    old, new = load_file(tiny / "model.safetensors"), load_file(tmp_path / "out/model.safetensors")
    assert all(same_bits(new[name], old[name].bfloat16()) for name in old)


def test_value_beyond_float16(tmp_path, tiny):
    tensors = load_file(tiny / "model.safetensors")
    tensors["model.norm.weight"][3] = 70_000.0
    save_file(tensors, tiny / "model.safetensors", metadata={"format": "pt"})
    text = refusal(InputError, tiny, tmp_path / "out", Options("hf", dtype="float16"))
    assert "'model.norm.weight' does not fit into float16: it has 7e+04" in text
    assert "convert to bfloat16 or float32" in text
    assert not (tmp_path / "out").exists()


def test_manifest_and_chat_template_go_along(tmp_path, tiny):
    manifest = read_json(tiny / "hanlin.json") | {"prompt": {"name": "test"}}
    write_json(tiny / "hanlin.json", manifest)
    settings = read_json(tiny / "tokenizer_config.json") | {"chat_template": "{{ messages }}"}
    write_json(tiny / "tokenizer_config.json", settings)
    convert(tiny, tmp_path / "meta", Options("meta"))
    convert(tmp_path / "meta", tmp_path / "hf", Options("hf"))
    back = read_json(tmp_path / "hf" / "hanlin.json")
    assert back == manifest
    assert load_tokenizer(tmp_path / "hf").chat_template == "{{ messages }}"


def test_tokenizer_in_the_folder_above(tmp_path, tiny):
    """LLaMA-1 and 2 come with one tokenizer.model for all sizes."""
    params = params_of(vocab_size=400)
    folder = write_meta_folder(tmp_path / "7B", params, state_of(params))
    (tmp_path / "tokenizer.model").write_bytes((tiny / "tokenizer.model").read_bytes())
    assert convert(folder, tmp_path / "out" / "hf", Options("hf")).has_tokenizer
    _, tokenizer = load_pair(tmp_path / "out" / "hf")
    assert tokenizer.encode("the old bridge", at_start=True) == load_tokenizer(tiny).encode(
        "the old bridge", at_start=True
    )
    config = read_json(tmp_path / "out" / "hf" / "generation_config.json")
    assert (config["bos_token_id"], config["eos_token_id"]) == (1, 2)


def test_missing_tokenizer_is_a_warning_that_names_the_mend(tmp_path, caplog):
    done = convert(make_meta(tmp_path), tmp_path / "hf", Options("hf"))
    assert not done.has_tokenizer
    assert "give one with --tokenizer FILE" in caplog.text


def test_tokenizer_of_another_model(tmp_path, tiny):
    options = Options("hf", tokenizer=tiny)
    text = refusal(InputError, make_meta(tmp_path), tmp_path / "hf", options)
    assert "the model has 96 embedding rows but the tokenizer has" in text


def test_old_buffers_of_transformers_are_left_out(tmp_path, tiny):
    tensors = load_file(tiny / "model.safetensors")
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(8) for i in (0, 1)}
    save_file(tensors | buffers, tiny / "model.safetensors", metadata={"format": "pt"})
    convert(tiny, tmp_path / "meta", Options("meta"))
    convert(tmp_path / "meta", tmp_path / "back", Options("hf"))
    assert open_checkpoint(tmp_path / "back").specs.keys() == tensors.keys()


def test_nothing_is_overwritten_unless_asked_for(tmp_path, tiny):
    convert(tiny, tmp_path / "out", Options("hf"))
    assert "exists already" in refusal(InputError, tiny, tmp_path / "out", Options("meta"))
    convert(tiny, tmp_path / "out", Options("meta"), force=True)
    assert (tmp_path / "out" / "params.json").is_file()
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("to", ["hf", "meta"])
def test_interrupted_conversion_goes_on_and_gives_the_same(tmp_path, tiny, to, monkeypatch):
    monkeypatch.setattr("hanlin.weights.convert.meta_write.BYTES_BETWEEN_NOTES", 30_000)
    options = Options(to, shards=2 if to == "meta" else 1, max_shard_bytes=50_000)
    convert(tiny, tmp_path / "whole", options)
    calls = 0

    def stop(done, total, name):
        nonlocal calls
        calls += 1
        if done == 6 and calls < 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tiny, tmp_path / "out", options, progress=stop)
    assert not (tmp_path / "out").exists()
    if to == "meta":
        noted = read_json(tmp_path / ".out.work" / "out" / ".journal.json")
        assert noted[0].keys() == noted[1].keys() and len(noted[0]) >= 2
    convert(tiny, tmp_path / "out", options)
    names = sorted(file.name for file in (tmp_path / "whole").iterdir())
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_lost_file_of_an_interrupted_conversion_is_written_again(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("hanlin.weights.convert.meta_write.BYTES_BETWEEN_NOTES", 1)

    def stop(done, total, name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tiny, tmp_path / "out", Options("meta"), progress=stop)
    (tmp_path / ".out.work" / "out" / "consolidated.00.pth").unlink()
    convert(tiny, tmp_path / "out", Options("meta"))
    convert(tiny, tmp_path / "whole", Options("meta"))
    files = [tmp_path / name / "consolidated.00.pth" for name in ("out", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("params", [LLAMA_3, LLAMA_3_1])
def test_tokenizer_of_llama_3(tmp_path, params):
    """Meta's tokenizer.model is a table of tiktoken; transformers has a tokenizer.json."""
    train_byte_bpe(SAMPLE_TEXTS, vocab_size=500, out=tmp_path / "bpe")
    table = tiktoken_bytes(load_tokenizer(tmp_path / "bpe"))
    rows = len(table.splitlines()) + 256
    params = params | {"vocab_size": rows}
    folder = write_meta_folder(tmp_path / "meta", params, state_of(params))
    (folder / "tokenizer.model").write_bytes(table)
    convert(folder, tmp_path / "hf", Options("hf"))
    assert not (tmp_path / "hf" / "tokenizer.model").exists()
    _, tokenizer = load_pair(tmp_path / "hf")
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    assert [tokenizer.vocabulary[name] for name in names] == [rows - 256, rows - 255, rows - 247]
    generation = read_json(tmp_path / "hf" / "generation_config.json")
    assert rows - 247 in generation["eos_token_id"] and rows - 255 in generation["eos_token_id"]
    has_python_tag = "<|python_tag|>" in tokenizer.vocabulary
    assert has_python_tag == bool(params.get("use_scaled_rope"))
    convert(tmp_path / "hf", tmp_path / "back", Options("meta"))
    assert (tmp_path / "back" / "tokenizer.model").read_bytes() == table
    convert(tmp_path / "back", tmp_path / "again", Options("hf"))
    assert load_pair(tmp_path / "again")[1].sha256 == tokenizer.sha256


def test_tokenizer_that_metas_code_cannot_read(tmp_path, tiny, caplog):
    train_byte_bpe(SAMPLE_TEXTS, vocab_size=300, out=tmp_path / "bpe")
    content = read_json(tmp_path / "bpe" / "tokenizer.json")
    content["model"]["merges"].reverse()
    write_json(tmp_path / "bpe" / "tokenizer.json", content)
    options = Options("meta", tokenizer=tmp_path / "bpe")
    convert(tiny, tmp_path / "meta", options)
    assert "has no form that Meta's own code reads" in caplog.text
    assert (tmp_path / "meta" / "tokenizer.json").is_file()
    assert not (tmp_path / "meta" / "tokenizer.model").exists()
