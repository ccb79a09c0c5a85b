"""The same conversation has the same prompt ids, and the same answer, in every backend."""

import pytest

from completions_server import Completions
from hanlin.inference.conversation import Talk, prompt_format
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.manifest import write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import check_probe, probe_ids, prompt_record
from hanlin.tokenization.load import load
from hanlin.weights.gguf.write import write_gguf

QUESTIONS = ("这本书是谁写的？ </s>", "Who wrote ＡＢＣ 🙂?")


@pytest.fixture(scope="module", params=["chinese-vicuna-chat", "alpaca", "llama2"])
def engines(request, tmp_path_factory):
    folder = make_tiny(tmp_path_factory.mktemp("tiny") / "model")
    write_manifest(folder, prompt=prompt_record(get_format(request.param), load(folder)))
    write_gguf(folder, folder.parent / "tiny.gguf", type="f32")
    server = Completions(folder).start()
    llamacpp = open_engine(str(folder.parent / "tiny.gguf"))
    yield {
        "transformers": open_engine(str(folder)),
        "llamacpp": llamacpp,
        "openai": open_engine(server.address),
    }
    server.close()
    llamacpp.close()


def test_prompts_and_answers(engines):
    stored = engines["transformers"].manifest["prompt"]["probe_ids"]
    found = {}
    for name, engine in engines.items():
        format = check_probe(engine.manifest, engine.tokenizer)
        assert probe_ids(format, engine.tokenizer) == stored
        talk = Talk(engine, format=prompt_format(engine), sampling=Sampling(max_new_tokens=12))
        first = "".join(talk.ask(QUESTIONS[0]))
        found[name] = (first, talk.prompt(QUESTIONS[1]), "".join(talk.ask(QUESTIONS[1])))
    assert found["llamacpp"] == found["transformers"]
    assert found["openai"] == found["transformers"]
