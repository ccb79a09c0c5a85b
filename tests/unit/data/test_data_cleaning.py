"""What `prepare-corpus` does to texts, and what it leaves out: with its count and reason."""

import json
from itertools import pairwise

import pytest

from hanlin.core.config import ConfigSource, validate
from hanlin.core.errors import ConfigError, InputError
from hanlin.data import prepare_corpus
from hanlin.data.corpus.clean import readable
from hanlin.data.corpus.duplicates import SeenDigests, digest
from hanlin.data.corpus.personal_data import is_card, is_id, mask
from hanlin.data.corpus.quality import repetition
from hanlin.data.store import TokenStore
from hanlin.text.script import language_share
from hanlin.tokenization.load import load

ALL = ("email", "id", "card", "phone", "ip")
LONG = (
    "这本书是一位老师在古城里写的，讲的是山里的一条河和河边的人们。春天来了，孩子们到河里捉鱼，"
    "老人坐在桥上说从前的故事。夏天很热，大家晚上都在院子里吃饭，月亮从山后面慢慢升起来。"
)


@pytest.fixture
def prepare(tiny_folder, run_stage):
    """Run the stage; return texts of the store, counts that are not 0, and what was left out."""

    def run(path, *, name="stage", language=None, **settings):
        sources = [{"path": str(path), "name": "a", "language": language}]
        values = {"tokenizer": str(tiny_folder), "sources": sources, **settings}
        config = prepare_corpus.Config.model_validate(values)
        folder = run_stage(prepare_corpus.STAGE, config, name) / "store"
        store, tokenizer = TokenStore.open(folder), load(tiny_folder)
        offsets = store.offsets(0).astype(int).tolist()
        texts = [tokenizer.decode(store.ids(0, s, e).tolist()) for s, e in pairwise(offsets)]
        account = json.loads((folder / "counts.json").read_text())["sources"][0]
        dropped = {reason: count for reason, count in account["dropped"].items() if count}
        rows = [json.loads(line) for line in (folder / "dropped.jsonl").read_text().splitlines()]
        return texts, dropped, rows, account

    return run


def rows(*texts):
    return [{"text": text} for text in texts]


def test_unreadable_characters_go_and_garbled_texts_are_left_out(write, prepare):
    path = write(
        "a.jsonl",
        rows("a\x00b\u200bc\ufeff", "锟斤拷锟斤拷你好", "ä½\xa0å¥½ä¸\x96ç", "é, naïve: fine"),
    )
    texts, dropped, shown, _ = prepare(path)
    assert texts == ["abc", "é, naïve: fine"]
    assert dropped == {"garbled": 2}
    assert shown[0] == {
        "reason": "garbled",
        "detail": "75% of the characters cannot be read",
        "source": "a.jsonl",
        "line": 2,
        "text": "锟斤拷锟斤拷你好",
        "name": "a",
    }


def test_unicode_forms():
    assert readable("Ａ，e\u0301", form="none") == ("Ａ，e\u0301", 0)
    assert readable("Ａ，e\u0301", form="nfc") == ("Ａ，é", 0)
    assert readable("Ａ，e\u0301", form="nfkc") == ("A,é", 0)
    assert readable("", form="none") == ("", 0)


def test_lengths(write, prepare):
    texts, dropped, *_ = prepare(write("a.jsonl", rows("短", "刚好的", "x" * 50)), min_characters=2,
                                 cleaning={"max_characters": 20})  # fmt: skip
    assert (texts, dropped) == (["刚好的"], {"short": 1, "long": 1})


def test_another_script_is_left_out(write, prepare):
    path = write("a.jsonl", rows("古城的老师 teacher", "Only English here", "123 🙂"))
    texts, dropped, shown, _ = prepare(path, language="zh", cleaning={"min_language_share": 0.3})
    assert (texts, dropped) == (["古城的老师 teacher"], {"other_script": 2})
    assert shown[0]["detail"] == "0% of the letters are of the script of zh"
    assert language_share("ひらがなと漢字", "ja") == 1 and language_share("é", "fr-CA") == 1


def test_lines_that_stand_in_many_documents_are_removed(write, prepare):
    texts = [f"第{n}篇\n版权所有 © 某网\n内容{n}" for n in range(5)]
    path = write("a.jsonl", rows(*texts, "版权所有 © 某网"))
    kept, dropped, *_ = prepare(path, cleaning={"boilerplate_documents": 4})
    assert kept == [f"第{n}篇\n内容{n}" for n in range(5)]
    assert dropped == {"empty": 1}


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (LONG, None),
        ("a\nb\na\nb\na\nb", "4 of 6 lines came before"),
        ("甲乙丙丁，" * 60, "one phrase of 2 words is"),
        (LONG + "又是另外一句话，和前面不同。" + LONG, "came before"),
        ("buy now " * 40, "one phrase of 2 words is"),
        ("short short short", None),
    ],
)
def test_repetition(text, how):
    found = repetition(text)
    assert found is None if how is None else how in found


def test_texts_that_repeat_themselves_are_left_out(write, prepare):
    texts, dropped, shown, _ = prepare(write("a.jsonl", rows(LONG, "好的" * 200)),
                                       cleaning={"drop_repetitive": True})  # fmt: skip
    assert (texts, dropped) == ([LONG], {"repetitive": 1})
    assert shown[0]["line"] == 2 and len(shown[0]["text"]) == 200


def test_exact_and_near_duplicates(write, prepare):
    almost = LONG.replace("老人", "老爷爷")
    path = write("a.jsonl", rows(LONG, LONG + " ", almost, "别的"))
    texts, dropped, shown, _ = prepare(path, cleaning={"near_duplicates": 0.8})
    assert (texts, dropped) == ([LONG, "别的"], {"duplicate": 1, "near_duplicate": 1})
    assert [(row["reason"], row["line"]) for row in shown] == [
        ("duplicate", 2),
        ("near_duplicate", 3),
    ]
    assert shown[1]["detail"].startswith("similarity 0.")
    texts, dropped, *_ = prepare(path, name="all", drop_duplicates=False)
    assert (len(texts), dropped) == (4, {})


def test_texts_that_hold_questions_of_a_benchmark_are_left_out(write, prepare):
    question = "下列各项中，关于中国古代官吏选拔制度的说法，完全正确的是哪一项"
    english = (
        "Which of the following best describes how the old town was founded by its first settlers"
    )
    lines = [f"0,{question},甲,乙,丙,丁,A", f"0,{english},a,b,c,d,A", "1,太短,甲,乙,丙,丁,B", ""]
    bench = write("bench/law_val.csv", "\n".join(["id,question,A,B,C,D,answer", *lines]))
    held = f"考试题：{question.replace('，', ' , ')}？"
    other = "Which of the following best describes a river?"
    path = write("a.jsonl", rows(held, english.upper(), LONG, other))
    texts, dropped, shown, account = prepare(path, cleaning={"benchmarks": [str(bench.parent)]})
    assert (len(texts), dropped) == (2, {"contaminated": 2})
    assert shown[0]["detail"] == "words in a row that a benchmark's question has"
    assert (account["benchmark_questions"], account["too_short_questions"]) == (3, 1)


def test_personal_data_is_masked_where_check_digits_fit():
    text = (
        "写信到 li.ming+a@mail.example.com.cn，电话13812345678或010-62345678，+86 139 1234 5678。"
        "身份证11010519491231002X，不是110105194912310021；"
        "卡 4111 1111 1111 1111，订单4111111111111112。"
        "地址192.168.1.254和2001:db8::1，版本1.2.3，时间12:30:45，比例999.1.1.1"
    )
    masked, found = mask(text, ALL)
    assert masked == (
        "写信到 [email]，电话[phone]或[phone]，[phone]。"
        "身份证[id]，不是110105194912310021；卡 [card]，订单4111111111111112。"
        "地址[ip]和[ip]，版本1.2.3，时间12:30:45，比例999.1.1.1"
    )
    assert found == {"email": 1, "phone": 3, "id": 1, "card": 1, "ip": 2}
    assert mask(text, ("ip",))[1] == {"ip": 2}
    assert mask("", ALL) == ("", {})


def test_check_digits():
    assert is_id("11010519491231002X") and not is_id("110105194913310020")
    assert is_card("4111-1111-1111-1111") and not is_card("0000000000000") and not is_card("42")


def test_masked_data_is_counted(write, prepare):
    texts, _, _, account = prepare(
        write("a.jsonl", rows("a@b.com, c@d.org", "无")), cleaning={"mask": ["email"]}
    )
    assert (texts, account["masked"]) == (["[email], [email]", "无"], {"email": 2})


def test_only_twenty_of_each_reason_are_shown(write, prepare):
    path = write("a.jsonl", rows("好文章", *["短"] * 50))
    _, dropped, shown, _ = prepare(path, min_characters=2, shard_characters=1000)
    assert dropped == {"short": 50} and len(shown) == 20


def test_digests_are_remembered_in_order():
    import numpy as np

    seen, numbers = SeenDigests(), [5, 3, 5, 7, 3, 9, 9, 1, 5]
    got = [
        flag for part in (numbers[:4], numbers[4:]) for flag in seen.add(np.array(part, np.uint64))
    ]
    assert got == [True, True, False, True, False, True, False, True, False]
    assert digest(b"a") != digest(b"b")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlap": True}, "overlap needs seq_len"),
        (
            {"cleaning": {"min_language_share": 0.5}},
            "min_language_share needs the language of source 'a'",
        ),
        ({"cleaning": {"mask": ["adress"]}}, "should be 'email'"),
        ({"cleaning": {"benchmark": []}}, "did you mean 'benchmarks'?"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, message):
    values = {"tokenizer": "t", "sources": [{"path": "a", "name": "a"}], **settings}
    with pytest.raises(ConfigError) as caught:
        validate(prepare_corpus.Config, values, source=ConfigSource("recipe.yaml", tmp_path))
    assert message in str(caught.value)


def test_a_store_of_texts_can_be_continued(write, prepare, run_stage, tiny_folder, tmp_path):
    prepare(write("a.jsonl", rows("一", "二")), name="first")
    path = write("more.jsonl", rows("二", "三"))
    texts, dropped, _, account = prepare(path, append_to=str(tmp_path / "first" / "store"))
    assert (texts, dropped) == (["一", "二", "三"], {"duplicate": 1})
    assert account["documents"] == 3
    other = write("b.jsonl", rows("四"))
    values = {"tokenizer": str(tiny_folder), "sources": [{"path": str(other), "name": "b"}],
              "append_to": str(tmp_path / "first" / "store")}  # fmt: skip
    out = run_stage(prepare_corpus.STAGE, prepare_corpus.Config.model_validate(values), "third")
    store = TokenStore.open(out / "store")
    assert [(s.name, s.documents) for s in store.sources] == [("a", 2), ("b", 1)]


def test_a_store_of_conversations_cannot_be_continued(write, prepare, make_store, tiny_folder):
    digest_of = load(tiny_folder).sha256
    store = make_store({"chat": (None, [4])}, has_mask=True, tokenizer_sha256=digest_of)
    with pytest.raises(InputError, match="only stores of texts can be continued"):
        prepare(write("a.jsonl", rows("一")), append_to=str(store.path))
    other = make_store({"a": (None, [4])}, folder="other")
    with pytest.raises(InputError, match="was made with another tokenizer"):
        prepare(write("a.jsonl", rows("一")), append_to=str(other.path))


def test_segments_can_be_cut_beforehand_with_and_without_overlap(write, prepare):
    path = write("a.jsonl", rows(LONG, LONG[::-1], "一句。" * 40, "短。"))
    whole, *_ = prepare(path, name="whole")
    cut, _, _, account = prepare(path, name="cut", seq_len=48)
    assert "".join(cut).replace(" ", "") == "".join(whole).replace(" ", "")
    assert account["documents"] > account["digests"] == 4
    overlapping, _, _, more = prepare(path, name="knowlm", seq_len=48, overlap=True)
    assert len(overlapping) >= len(cut) and more["tokens"] > account["tokens"]


def test_workers_and_shards_change_no_byte(write, prepare, tmp_path):
    path = write("a.jsonl", rows(*[LONG[n:] + f"{n % 30}" for n in range(60)], "短"))
    for name, settings in {"one": {}, "two": {"workers": 2, "shard_characters": 1000}}.items():
        prepare(path, name=name, min_characters=2, cleaning={"near_duplicates": 0.95}, **settings)
    files = sorted((tmp_path / "one" / "store").iterdir())
    assert len(files) == 9
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / "store" / file.name).read_bytes(), file.name
