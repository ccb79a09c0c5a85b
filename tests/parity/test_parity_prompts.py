"""llama.cpp's own template engine makes the ids that were trained, from every exact format."""

import pytest

from hanlin.core.records import Message
from hanlin.models.llama_server import open_server
from hanlin.models.manifest import write_manifest
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, new_llama
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.formats import FORMATS, get_format
from hanlin.prompts.probe import prompt_record
from hanlin.weights.gguf.write import write_gguf
from prompt_tokenizers import STYLES, make_tokenizer

SYSTEM = Message("system", "请简短回答。 Be brief.")
TURNS = [
    Message("user", "谁写了《石头记》？\n  two  spaces"),
    Message("assistant", "曹雪芹。🙂"),
    Message("user", "{content} 12 + 34 = <b>?"),
    Message("assistant", "Line 1\nline 2"),
    Message("user", "More, 更多！"),
]
CONVERSATIONS = [[SYSTEM, *TURNS], TURNS, TURNS[:1], [SYSTEM, *TURNS[:1]], TURNS[:3]]
CASES = [
    (style, name)
    for style in STYLES
    for name in (FORMATS if style == "sentencepiece" else ["plain", "llama3", "chatml", "belle"])
    if get_format(name).has_exact_borders
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    made = {}
    shape = Architecture(hidden_size=32, layers=1, heads=2, max_length=256)
    for style in STYLES:
        folder = tmp_path_factory.mktemp(style)
        tokenizer = make_tokenizer(folder / "tokenizer", style)
        model = new_llama(shape, tokenizer.vocab_size, 0)
        made[style] = (save_model(model, tokenizer, folder / "model"), tokenizer)
    return made


@pytest.mark.parametrize(("style", "name"), CASES)
def test_prompts_of_llama_cpp_are_those_of_training(models, tmp_path, style, name):
    folder, tokenizer = models[style]
    format = get_format(name)
    write_manifest(
        folder, prompt=prompt_record(format, tokenizer), tokenizer_sha256=tokenizer.sha256
    )
    write_gguf(folder, tmp_path / "m.gguf", type="f32")
    with open_server(tmp_path / "m.gguf", context_length=64) as server:
        for messages in CONVERSATIONS:
            text = server.chat_prompt([{"role": m.role, "content": m.content} for m in messages])
            ours = encode_prompt(messages, format=format, tokenizer=tokenizer)
            assert server.tokenize(text, with_special=True) == ours, (text, messages)
