"""Whatever the model wants to say, the text fits the grammar: with every kind of decoding."""

import json
import re

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from hanlin.core.errors import ConfigError
from hanlin.core.records import Grammar
from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.inference.constraint import Constraints, look_ahead
from hanlin.inference.engine import Sampling
from hanlin.models.load import load_model
from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, make_tiny
from hanlin.tokenization.load import load as load_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "人物": {"type": "string", "maxLength": 5},
        "年": {"type": "integer", "minimum": 1800, "maximum": 2099},
        "kinds": {"type": "array", "items": {"enum": ["书", "钟", "lamp 灯🏮"]}, "maxItems": 2},
    },
    "required": ["人物", "年", "kinds"],
    "additionalProperties": False,
}
LARK = 'start: "姓名：" NAME "；" ("男" | "女")\nNAME: /[\\u4e00-\\u9fff]{2,4}/'
LIMIT = {"max_new_tokens": 160}
WAYS = {
    "greedy": Sampling(**LIMIT),
    "sampled": Sampling(**LIMIT, temperature=1.3, seed=1),
    "beams": Sampling(**LIMIT, num_beams=3),
    "drawn beams": Sampling(**LIMIT, num_beams=3, temperature=1.0),
}


def byte_level_folder(path):
    """A tiny model with a byte-level BPE tokenizer, as those of LLaMA 3 and Qwen."""
    tiny = make_tiny(path / "sentencepiece")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"]
    size = load_model(tiny).config.vocab_size
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(SAMPLE_TEXTS, trainer)
    folder = path / "bytes"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return save_model(load_model(tiny), load_tokenizer(folder), path / "model")


@pytest.fixture(scope="module", params=["byte fallback", "byte level"])
def engine(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    folder = make_tiny(path) if request.param == "byte fallback" else byte_level_folder(path)
    return TransformersEngine(str(folder))


def answers(engine, way, grammar, **settings):
    sampling = Sampling(**{**vars(WAYS[way]), "grammar": grammar, **settings})
    found = engine.generate([[1, 5], [1, 6, 7, 8]], sampling)
    for prompt, answer in zip([[1, 5], [1, 6, 7, 8]][:1], found, strict=False):
        assert "".join(engine.stream(prompt, sampling)) == answer.text
    return found


@pytest.mark.parametrize("way", WAYS)
def test_json_fits_its_schema(engine, way):
    schema = Grammar("json_schema", json.dumps(SCHEMA))
    for answer in answers(engine, way, schema):
        assert answer.stopped_by == "eos"
        found = json.loads(answer.text)
        assert list(found) == ["人物", "年", "kinds"]
        assert len(found["人物"]) <= 5 and 1800 <= found["年"] <= 2099
        assert set(found["kinds"]) <= {"书", "钟", "lamp 灯🏮"}
        assert not re.search(r"[,:{\[]\s|\s[}\]]", re.sub(r'"[^"]*"', "", answer.text))


@pytest.mark.parametrize("way", WAYS)
def test_text_fits_a_lark_grammar_a_regex_or_is_one_of_a_list(engine, way):
    for answer in answers(engine, way, Grammar("lark", LARK)):
        assert re.fullmatch(r"姓名：[一-鿿]{2,4}；[男女]", answer.text)
    for answer in answers(engine, way, Grammar("regex", r"(🙂|[a-c]{3})=\d{2}")):
        assert re.fullmatch(r"(🙂|[a-c]{3})=\d{2}", answer.text)
    choices = ["是", "不是", '"a\\b"', "two\nlines", "🙂 ＡＢＣ"]
    for answer in answers(engine, way, Grammar("choice", json.dumps(choices))):
        assert answer.text in choices and answer.stopped_by == "eos"


def test_masks_computed_ahead_are_those_computed_when_asked_for(engine):
    constraints, ends = Constraints(engine.tokenizer), [engine.tokenizer.eos_id]
    grammars = [Grammar("lark", LARK), Grammar("choice", '["是", "不是"]'), Grammar("regex", "a*")]
    for _ in range(3):
        ahead, plain = ([constraints.open(grammar) for grammar in grammars] for _ in range(2))
        while ahead:
            look_ahead(ahead, [ends] * len(ahead))
            copies = [one.copy() for one in ahead]
            for one, copied, other in zip(ahead, copies, plain, strict=True):
                wanted = other.allowed(ends)
                assert one.allowed(ends).equal(wanted) and copied.allowed(ends).equal(wanted)
                for moved in (one, other):
                    moved.advance(int(wanted.nonzero()[-1]))
            going = [not one.may_end for one in ahead]
            ahead = [one for one, goes in zip(ahead, going, strict=True) if goes]
            plain = [one for one, goes in zip(plain, going, strict=True) if goes]


def test_what_is_cut_says_so(engine):
    schema = Grammar("json_schema", json.dumps(SCHEMA))
    for answer in answers(engine, "greedy", schema, max_new_tokens=6):
        assert answer.stopped_by == "length"
        assert '{"人物":"'.startswith(answer.text[:7])
        with pytest.raises(ValueError, match=r"."):
            json.loads(answer.text)


def test_a_stop_string_or_token_does_not_cut_it(engine):
    quote = engine.tokenizer.encode('"', at_start=False)[-1]
    schema = Grammar("json_schema", json.dumps(SCHEMA))
    for answer in answers(engine, "greedy", schema, stop=("人", "{"), stop_ids=(quote,)):
        assert set(json.loads(answer.text)) == set(SCHEMA["properties"])


def test_spaces_after_separators_on_wish(engine):
    spaced = {**SCHEMA, "x-guidance": {"item_separator": ", ", "key_separator": ": "}}
    answer = answers(engine, "greedy", Grammar("json_schema", json.dumps(spaced)))[0]
    assert json.dumps(json.loads(answer.text), ensure_ascii=False) == answer.text


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("regex", "a(b", "unclosed group"),
        ("lark", "start: foo", 'unknown name: "foo"'),
        ("lark", "start: X\nX: /a/ & /b/", "no text can go on"),
        ("json_schema", '{"type": "string", "minLength": 5, "maxLength": 3}', "Unsatisfiable"),
        ("json_schema", '{"type": "strin"}', "Invalid type"),
        ("json_schema", "{'type'", "Expecting property name"),
        ("json_schema", "[]", "a schema is an object"),
        ("choice", "[1]", "it is [1]"),
        ("choice", "[]", "nothing stands in the list"),
        ("choice", "yes", "Expecting value"),
    ],
)
def test_a_grammar_that_no_text_can_fit_is_refused_at_once(tmp_path, kind, text, reason):
    constraints = Constraints(load_tokenizer(make_tiny(tmp_path)))
    with pytest.raises(ConfigError, match="the grammar") as caught:
        constraints.open(Grammar(kind, text))
    assert reason in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("way", WAYS)
def test_a_text_without_an_end_is_cut(engine, way):
    for answer in answers(engine, way, Grammar("lark", 'start: /[古城]+/ "。"'), max_new_tokens=9):
        assert answer.stopped_by in ("length", "eos")
        assert re.fullmatch("[古城]*。?", answer.text)


@pytest.mark.parametrize("way", WAYS)
def test_a_grammar_that_demands_text_without_end_breaks_off_with_a_reason(engine, way):
    with pytest.raises(ConfigError, match="the grammar cannot be satisfied") as caught:
        answers(engine, way, Grammar("lark", 'start: "古" start'))
    assert "Too many items" in caught.value.why
