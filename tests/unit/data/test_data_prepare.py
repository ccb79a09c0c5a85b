"""The two stages that make token stores."""

import json
from itertools import pairwise

import pytest

from hanlin.core.config import ConfigSource, validate
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import sha256
from hanlin.data import prepare_chat, prepare_corpus
from hanlin.data.store import TokenStore
from hanlin.prompts.formats import PLAIN
from hanlin.prompts.probe import check_probe
from hanlin.tokenization.load import load


def corpus_config(tiny_folder, sources, **settings):
    return prepare_corpus.Config(tokenizer=str(tiny_folder), sources=sources, **settings)


def chat_config(tiny_folder, sources, **settings):
    return prepare_chat.Config(tokenizer=str(tiny_folder), sources=sources, **settings)


def test_a_corpus_becomes_documents_with_begin_and_end(tiny_folder, write, run_stage):
    zh = write("zh.jsonl", [{"text": "这本书是老师写的。\r\n"}, {"text": "古城 🙂 </s>"}])
    en = write("en.txt", "The old town.")
    sources = [
        {"path": str(zh), "name": "zh", "language": "zh", "weight": 2},
        {"path": str(en), "name": "en", "language": "en", "weight": 1},
    ]
    out = run_stage(prepare_corpus.STAGE, corpus_config(tiny_folder, sources))
    store, tokenizer = TokenStore.open(out / "store"), load(tiny_folder)
    store.check_tokenizer(tokenizer.sha256, where="here")
    texts = []
    for source in range(2):
        offsets = store.offsets(source).tolist()
        for start, end in pairwise(offsets):
            ids = store.ids(source, start, end).tolist()
            assert (ids[0], ids[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
            assert ids.count(tokenizer.eos_id) == 1
            texts.append(tokenizer.decode(ids))
    assert texts == ["这本书是老师写的。", "古城 🙂 </s>", "The old town."]
    assert [(s.name, s.language, s.weight, s.documents, s.text_bytes) for s in store.sources] == [
        ("zh", "zh", 2.0, 2, 27 + 16), ("en", "en", 1.0, 1, 13),
    ]  # fmt: skip
    assert not store.has_mask and store.seq_len is None


def test_a_language_picks_its_rows(tiny_folder, write, run_stage):
    path = write("mixed.jsonl", [
        {"text": "一", "language": "zh"}, {"text": "two", "language": "en"}, {"text": "three"}
    ])  # fmt: skip
    sources = [{"path": str(path), "name": "en", "language": "en"}]
    out = run_stage(prepare_corpus.STAGE, corpus_config(tiny_folder, sources))
    counts = json.loads((out / "store" / "counts.json").read_text())["sources"][0]
    assert counts["documents"] == 2
    assert {name: n for name, n in counts["dropped"].items() if n} == {"other_language": 1}


def test_bad_rows_lie_beside_the_store(tiny_folder, write, run_stage):
    rows = [json.dumps({"text": f"row {i}"}) for i in range(200)]
    rows[9] = "{broken"
    path = write("a.jsonl", "\n".join(rows))
    out = run_stage(
        prepare_corpus.STAGE, corpus_config(tiny_folder, [{"path": str(path), "name": "a"}])
    )
    row = json.loads((out / "store" / "bad_rows.jsonl").read_text())
    assert (row["source"], row["line"]) == ("a.jsonl", 10)
    assert TokenStore.open(out / "store").sources[0].bad_rows == 1


def test_the_same_input_gives_the_same_bytes(tiny_folder, write, run_stage):
    path = write("a.txt", "The old town.\n\n古城")
    config = corpus_config(tiny_folder, [{"path": str(path), "name": "a"}])
    first = run_stage(prepare_corpus.STAGE, config, "one")
    second = run_stage(prepare_corpus.STAGE, config, "two")
    again = run_stage(prepare_corpus.STAGE, config, "two")  # over what is there already
    assert sha256(first / "store") == sha256(second / "store") == sha256(again / "store")


def test_too_many_bad_rows_leave_no_store(tiny_folder, write, run_stage, tmp_path):
    path = write("a.jsonl", '{"text": "x"}\n{broken\n')
    source = {"path": str(path), "name": "a"}
    with pytest.raises(InputError, match="1 of 2 rows cannot be used"):
        run_stage(prepare_corpus.STAGE, corpus_config(tiny_folder, [source]))
    assert not (tmp_path / "stage" / "store" / "store.json").exists()
    run_stage(prepare_corpus.STAGE, corpus_config(tiny_folder, [source], max_bad_rows=0.5))


def test_nothing_left_is_an_error(tiny_folder, write, run_stage):
    source = {"path": str(write("a.jsonl", [{"text": "短"}, {"text": " "}])), "name": "a"}
    with pytest.raises(InputError) as caught:
        run_stage(prepare_corpus.STAGE, corpus_config(tiny_folder, [source], min_characters=5))
    assert "no document of source 'a' is left" in str(caught.value)
    assert "left out: empty 1, short 1" in caught.value.why


def test_conversations_become_ids_with_a_mask(tiny_folder, write, run_stage):
    rows = [
        {"input": ["谁？", "Who?"], "output": ["老师", "She"]},
        {"instruction": "Who </s>", "output": "the painter 🙂"},
    ]
    sources = [{"path": str(write("a.jsonl", rows)), "name": "chat"}]
    out = run_stage(prepare_chat.STAGE, chat_config(tiny_folder, sources, seq_len=64))
    store, tokenizer = TokenStore.open(out / "store"), load(tiny_folder)
    assert store.has_mask and store.seq_len == 64
    assert check_probe(store.header, tokenizer) == PLAIN
    ids, mask = store.ids(0, 0, store.tokens), store.mask(0, 0, store.tokens)
    assert tokenizer.decode_continuation(ids[mask].tolist()) == " 老师 She the painter 🙂"
    counts = json.loads((out / "store" / "counts.json").read_text())["sources"][0]
    assert counts["end_tokens"] == 3 == ids[mask].tolist().count(tokenizer.eos_id)
    assert counts["trained_tokens"] == mask.sum()
    texts = ["谁？", "老师", "Who?", "She", "Who </s>", "the painter 🙂"]
    assert counts["text_bytes"] == len("".join(texts).encode())


def test_loss_on_the_last_answer(tiny_folder, write, run_stage):
    rows = [{"input": ["a", "b"], "output": ["old", "river"]}]
    sources = [{"path": str(write("a.jsonl", rows)), "name": "chat"}]
    out = run_stage(prepare_chat.STAGE, chat_config(tiny_folder, sources, loss_on="last"))
    store = TokenStore.open(out / "store")
    ids = store.ids(0, 0, store.tokens)[store.mask(0, 0, store.tokens)]
    assert load(tiny_folder).decode_continuation(ids.tolist()) == " river"


def test_long_conversations_lose_turns_or_are_left_out_and_counted(
    tiny_folder, write, run_stage, caplog
):
    rows = [
        {"input": ["question"] * 9, "output": ["answer"] * 9},
        {"instruction": "x", "output": "长" * 200},
        {"instruction": "x", "output": "y"},
    ]
    sources = [{"path": str(write("a.jsonl", rows)), "name": "chat"}]
    out = run_stage(prepare_chat.STAGE, chat_config(tiny_folder, sources, seq_len=64))
    counts = json.loads((out / "store" / "counts.json").read_text())["sources"][0]
    assert (counts["documents"], counts["too_long"], counts["shortened"]) == (2, 1, 1)
    assert 0 < counts["dropped_turns"] < 9
    assert TokenStore.open(out / "store").lengths(0).max() <= 64
    assert "1 of 3 conversations are longer than 64 tokens" in caplog.text


def test_if_no_conversation_fits_it_is_an_error(tiny_folder, write, run_stage):
    sources = [{"path": str(write("a.jsonl", [{"instruction": "x", "output": "长" * 50}])),
                "name": "chat"}]  # fmt: skip
    with pytest.raises(InputError) as caught:
        run_stage(prepare_chat.STAGE, chat_config(tiny_folder, sources, seq_len=32))
    assert "no conversation (1 read) fits into 32 tokens" in str(caught.value)
    assert "raise seq_len above 32" in caught.value.fix


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "alpca"}, "unknown prompt format 'alpca'; did you mean 'alpaca'?"),
        ({"sources": []}, "at least 1 item"),
        ({"sources": [{"path": "a", "name": "x"}] * 2}, "the name 'x' appears twice"),
        ({"sources": [{"path": "a", "name": "x", "weight": 1}, {"path": "a", "name": "y"}]},
         "source 'y' has no weight but others have"),
        ({"sources": [{"path": "a", "name": "x", "weight": 0}]}, "every weight is 0"),
        ({"sources": [{"path": "a", "name": "../x"}]}, "should match pattern"),
        ({"loss_on": "first"}, "should be 'all' or 'last'"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_before_anything_is_read(tmp_path, settings, message):
    values = {"tokenizer": "t", "sources": [{"path": "a", "name": "x"}], **settings}
    with pytest.raises(ConfigError) as caught:
        validate(prepare_chat.Config, values, source=ConfigSource("recipe.yaml", tmp_path))
    assert message in str(caught.value)


def test_the_disk_is_estimated_from_the_sources(tiny_folder, write):
    path = write("a.txt", "x" * 3000)
    config = corpus_config(tiny_folder, [{"path": str(path), "name": "a"}])
    assert prepare_corpus.STAGE.estimate(config).disk_bytes == 5000
    missing = chat_config(tiny_folder, [{"path": "@world/chat", "name": "a"}])
    assert prepare_chat.STAGE.estimate(missing).disk_bytes == 0
