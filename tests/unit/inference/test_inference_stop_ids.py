"""A format's end marker ends an answer as the model's own end token does, in every backend."""

import pytest

from hanlin.core.records import Message
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, new_llama
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.formats import get_format
from hanlin.weights.gguf.write import write_gguf
from prompt_tokenizers import make_tokenizer

CHATML = get_format("chatml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stop")
    tokenizer = make_tokenizer(path / "tokenizer", "sentencepiece")
    shape = Architecture(hidden_size=32, layers=1, heads=2, max_length=256)
    return save_model(new_llama(shape, tokenizer.vocab_size, 0), tokenizer, path / "model")


@pytest.fixture(scope="module", params=["transformers", "llamacpp"])
def engine(request, folder, tmp_path_factory):
    if request.param == "transformers":
        return open_engine(str(folder))
    file = tmp_path_factory.mktemp("gguf") / "m.gguf"
    write_gguf(folder, file, type="f32")
    return open_engine(str(file))


def test_generation_ends_before_a_stop_token(engine):
    prompt = encode_prompt([Message("user", "Hi")], format=CHATML, tokenizer=engine.tokenizer)
    whole = engine.generate([prompt], Sampling(max_new_tokens=12))[0]
    at = next(i for i in range(1, len(whole.ids)) if whole.ids[i] not in whole.ids[:i])
    cut = engine.generate([prompt], Sampling(max_new_tokens=12, stop_ids=(whole.ids[at],)))[0]
    assert cut.ids == whole.ids[:at] and cut.stopped_by == "eos"
