"""Does any text come back from an extended byte-level BPE tokenizer inside llama.cpp?"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.models.llama_server import open_server
from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, Architecture, new_llama
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.bpe_extend import extend_byte_bpe
from hanlin.tokenization.load import load
from hanlin.weights.gguf.write import write_gguf

ENGLISH, CHINESE = SAMPLE_TEXTS[:5], SAMPLE_TEXTS[5:]


@pytest.fixture(scope="module", params=["llama3", "qwen2"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    base = load(train_byte_bpe(ENGLISH * 3, vocab_size=330, out=folder / "base",
                               style=request.param))  # fmt: skip
    new = extend_byte_bpe(base, CHINESE * 3, add=40, control=ENGLISH).tokenizer
    shape = Architecture(hidden_size=32, layers=1, heads=2, max_length=256)
    return save_model(new_llama(shape, new.vocab_size, 0), new, folder / "model")


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("server") / "m.gguf"
    write_gguf(model, file, type="f32")
    with open_server(file, context_length=256) as opened:
        yield opened


@settings(max_examples=150, deadline=None)
@given(text=st.text(min_size=1, max_size=40) | st.sampled_from([*SAMPLE_TEXTS, " 河 ", "🙂</s>"]))
def test_any_text_comes_back(model, server, text):
    ids = server.tokenize(text)
    assert server.post("/detokenize", {"tokens": ids})["content"] == text
    assert load(model).decode(ids) == text
