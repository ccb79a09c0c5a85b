"""The llama.cpp backend answers and scores like transformers, from one .gguf file."""

import gguf
import pytest

from hanlin.core.errors import InputError
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.manifest import write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import check_probe, prompt_record
from hanlin.tokenization.load import load
from hanlin.weights.gguf.write import write_gguf

TEXTS = ("Who wrote the book?", "这本书是谁写的？", "A 混合 sentence：ＡＢＣ, 🙂!")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = make_tiny(tmp_path_factory.mktemp("tiny") / "model")
    write_manifest(folder, prompt=prompt_record(get_format("plain"), load(folder)))
    write_gguf(folder, folder.parent / "tiny.gguf", type="f32")
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    return open_engine(str(folder.parent / "tiny.gguf"))


@pytest.fixture(scope="module")
def prompts(engine):
    tokenizer = engine.tokenizer
    return [[tokenizer.bos_id, *tokenizer.encode(text, at_start=True)] for text in TEXTS]


def test_tokenizer_and_prompt_come_out_of_the_file(folder, engine):
    tokenizer = load(folder)
    ours = engine.tokenizer
    assert ours.sha256 == tokenizer.sha256
    assert (ours.bos_id, ours.eos_id, ours.pad_id) == (
        tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id,
    )  # fmt: skip
    assert check_probe(engine.manifest, ours) == get_format("plain")
    assert engine.max_length == 512


def test_greedy_answers_are_those_of_transformers(folder, engine, prompts):
    sampling = Sampling(max_new_tokens=24)
    answers = engine.generate(prompts, sampling)
    assert answers == open_engine(str(folder)).generate(prompts, sampling)
    assert "".join(engine.stream(prompts[1], sampling)) == answers[1].text


def test_scores_are_those_of_transformers_also_of_half_characters(folder, engine, prompts):
    continuations = [engine.tokenizer.encode(t, at_start=False) for t in (" yes", "🙂\n", "不是")]
    requests = [(prompt, c) for prompt in prompts for c in [*continuations, []]]
    expected = open_engine(str(folder)).score(requests)
    assert engine.score(requests) == pytest.approx(expected, abs=1e-4)


def test_sampling_repeats_with_its_seed(engine, prompts):
    sampling = Sampling(max_new_tokens=12, temperature=1.0, seed=5)
    assert engine.generate(prompts, sampling) == engine.generate(prompts, sampling)


def test_a_prompt_that_fills_the_context_is_refused(engine):
    with pytest.raises(InputError, match="the prompt has 512 tokens"):
        engine.generate([[5] * 512], Sampling())


def test_an_answer_can_be_broken_off_and_another_asked_for(engine, prompts):
    stream = engine.stream(prompts[0], Sampling(max_new_tokens=24))
    next(stream)
    stream.close()
    assert engine.generate(prompts[:1], Sampling(max_new_tokens=3))[0].stopped_by == "length"


def test_a_file_that_is_no_gguf(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"this is no model" * 100)
    with pytest.raises(InputError) as error:
        open_engine(str(tmp_path / "bad.gguf"))
    assert "is no readable GGUF file" in str(error.value)


def foreign_file(path, tokens):
    """Write a file as another program does: without tokenizer.json in it."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_token_list(tokens)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return str(path)


def test_a_foreign_file_needs_a_tokenizer_beside_it(tmp_path):
    with pytest.raises(InputError) as error:
        open_engine(foreign_file(tmp_path / "foreign.gguf", ["a", "b"]))
    assert "has no tokenizer.json in it" in str(error.value)
    assert "beside the file" in str(error.value)


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    make_tiny(tmp_path)
    with pytest.raises(InputError) as error:
        open_engine(foreign_file(tmp_path / "foreign.gguf", ["a", "b"]))
    assert "has 2 tokens but its tokenizer has 400" in str(error.value)
