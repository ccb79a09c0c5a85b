"""Do converted models answer as the originals: transformers, llama.cpp, SentencePiece?"""

import pytest

from hanlin.inference.engine import Sampling, open_engine
from hanlin.tokenization import sentencepiece
from hanlin.weights.convert.convert import Options, convert
from hanlin.weights.convert.llama2c import tokenizer_model
from hanlin.weights.convert.meta import shard_files
from hanlin.weights.gguf.write import write_gguf

# What llama2.c's own test expects of the same files: test_all.py, test_runc, 200 steps at
# temperature 0 (https://github.com/karpathy/llama2.c).
STORY = """\
Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, \
"I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she"""


@pytest.fixture(scope="module")
def stories(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories") / "hf"
    convert(real_data / "weights" / "stories260K.bin", folder, Options("hf"))
    return folder


def greedy(model):
    """Return what a model makes of "Once upon a time", 200 tokens in all."""
    engine = open_engine(str(model))
    ids = engine.tokenizer.encode("Once upon a time", at_start=True)
    prompt = [engine.tokenizer.bos_id, *ids]
    return engine.generate([prompt], Sampling(max_new_tokens=200 - len(ids)))[0]


@pytest.mark.real_data
def test_stories_from_transformers_and_from_llama_cpp(stories, tmp_path):
    answer = greedy(stories)
    assert "Once upon a time" + answer.text == STORY
    write_gguf(stories, tmp_path / "stories.gguf", type="f16")
    assert greedy(tmp_path / "stories.gguf") == answer


@pytest.mark.real_data
@pytest.mark.parametrize("shards", [1, 2, 4])
def test_stories_through_metas_layout_and_back(stories, tmp_path, shards):
    convert(stories, tmp_path / "meta", Options("meta", shards=shards))
    assert len(shard_files(tmp_path / "meta")) == shards
    convert(tmp_path / "meta", tmp_path / "hf", Options("hf"))
    for file in ("model.safetensors", "tensors.json", "tokenizer.json", "config.json"):
        assert (tmp_path / "hf" / file).read_bytes() == (stories / file).read_bytes(), file


@pytest.mark.real_data
def test_llamas_tokenizer_is_rebuilt_from_its_export(real_data):
    folder = real_data / "tokenizers" / "llama"
    original = sentencepiece.read_model(folder / "tokenizer.model")
    rebuilt = tokenizer_model(folder / "tokenizer.bin", vocab_size=32_000)
    assert [(p.piece, p.score, p.type) for p in rebuilt.pieces] == [
        (p.piece, p.score, p.type) for p in original.pieces
    ]
    ours, theirs = sentencepiece.processor(rebuilt), sentencepiece.processor(original)
    for text in ("Once upon  a time", " leading, 1234", "河流穿过古城🙂", "\n\ttabs"):
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text
