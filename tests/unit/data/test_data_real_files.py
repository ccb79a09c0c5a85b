"""Every public file of instructions, corpora and extraction data: all records, or a report."""

import json
import re

import pytest

from hanlin.core.errors import InputError
from hanlin.data.conversion.convert import convert
from hanlin.data.conversion.rows import FORMATS
from hanlin.data.readers import BadRows, read_conversations, read_documents
from hanlin.data.readers.kinds import kind_of

pytestmark = pytest.mark.real_data

ROW = re.compile(r"^\| (\S+) \| (\d+)")
# Rows that are there and cannot be used: an answer is empty, a system message comes late, ...
BAD = {
    "alpaca_zh_0-3252.json": 4,
    "alpaca_en_0-3252.json": 4,
    "terms_zh.json": 1,
    "sharegpt_zh_multi_turn.jsonl": 1,
}
# Prose: paragraphs of these make documents; what counts is that no line is missing.
PROSE = {"novel_hongloumeng.txt", "novel_xiyouji.txt", "en_tinyshakespeare.txt", "en_wiki_demo.txt",
         "dataset1.txt", "dataset2.txt", "dataset3.txt", "dataset4.txt", "dataset5.txt",
         "finre_relation2id.txt", "sanwen_relation2id.txt"}  # fmt: skip
# Schemas, dictionaries and examples for a prompt: no texts, no conversations.
NO_RECORDS = {"landscape_schema.jsonl", "hard_dict.json", "ner_cn.json", "ner_en.json"} | {
    f"{task}_schema.json" for task in ("NER", "RE", "EE", "EET", "EEA", "SPO", "KG")
}
# The table says 1 (example) for lists of up to three.
LISTS = {"da_cn.json": 2, "da_en.json": 3, "re_cn.json": 2, "re_en.json": 3}


def listed(folder):
    """Yield (path, records) of the tables below the three headings."""
    section = ""
    for line in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        section = line.removeprefix("## ") if line.startswith("## ") else section
        found = ROW.match(line)
        if found and section in ("instructions", "corpus", "ie"):
            yield folder / section / found[1], int(found[2])


def test_the_number_of_records(real_data):
    wrong, count = {}, 0
    for path, records in listed(real_data):
        count += 1
        if path.name in PROSE | NO_RECORDS:
            continue
        kind, bad = kind_of(path), BadRows(0.01)
        read = read_conversations if kind == "conversations" else read_documents
        found = sum(1 for _ in read(path, bad=bad))
        expected = LISTS.get(path.name, records), BAD.get(path.name, 0)
        if (found + bad.bad, bad.bad) != expected or len(bad.rows) != bad.bad:
            wrong[path.name] = found, bad.bad, expected
        assert all(row.line and row.reason for row in bad.rows)
    assert count >= 70 and not wrong


def test_no_line_of_prose_is_missing(real_data):
    for path, _ in listed(real_data):
        if path.name in PROSE:
            lines = [line.rstrip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
            documents = [d.text for d in read_documents(path)]
            read = [line for text in documents for line in text.split("\n")]
            assert [line for line in read if line] == [line for line in lines if line], path


def test_what_holds_no_records_is_refused_by_name(real_data):
    for path, _ in listed(real_data):
        if path.name in NO_RECORDS:
            with pytest.raises(InputError, match="holds no rows of a known kind") as caught:
                kind_of(path)
            assert str(path) in str(caught.value)


def details(conversation):
    at = [message.input_at for message in conversation.messages]
    return conversation.messages, conversation.tools, at


def test_each_conversation_file_to_messages_and_back(real_data, tmp_path):
    count = 0
    for path, _ in listed(real_data):
        if path.name in PROSE | NO_RECORDS or kind_of(path) != "conversations":
            continue
        count += 1
        there = tmp_path / "there.jsonl.zst"
        before = list(read_conversations(path))
        done = convert(path, there, to="messages", force=True)
        assert done.rows == len(before) and not done.not_held
        assert all(what.startswith("field ") for what in done.changed)
        after = list(read_conversations(there))
        assert list(map(details, after)) == list(map(details, before)), path
        back = tmp_path / "back.json.gz"
        own = own_format(path)
        done = convert(there, back, to=own, force=True)
        assert done.rows == len(before) and not done.not_held and not done.changed, path
        assert list(map(details, read_conversations(back))) == list(map(details, before)), path
    assert count >= 19


def own_format(path):
    if "glaive" in path.name or "sharegpt" in path.name:
        return "sharegpt"
    if path.suffix == ".pkl":
        return "cutegpt"
    if "seed_tasks" in path.name:
        return "self-instruct"
    return "chinese-vicuna" if "multi_turn_sample" in path.name else "alpaca"


@pytest.mark.parametrize("name", ["alpaca_zh_demo.json", "glaive_toolcall_zh_demo.json"])
def test_the_rows_themselves_come_back(real_data, tmp_path, name):
    path = real_data / "instructions" / name
    own = own_format(path)
    convert(path, tmp_path / "there.jsonl", to="messages")
    convert(tmp_path / "there.jsonl", tmp_path / "back.json", to=own)
    back = json.loads((tmp_path / "back.json").read_text(encoding="utf-8"))
    assert list(map(tidy, back)) == list(map(tidy, json.loads(path.read_text(encoding="utf-8"))))


def tidy(row):
    """A row without what our readers never keep: outer white space, and spaces in nested JSON."""
    if "tools" in row:
        row["tools"] = json.loads(row["tools"] or "[]")
    if not row.get("tools"):
        row.pop("tools", None)
    for turn in row.get("conversations", []):
        is_call = turn["from"] == "function_call"
        turn["value"] = json.loads(turn["value"]) if is_call else turn["value"].strip()
    return {key: value.strip() if isinstance(value, str) else value for key, value in row.items()}


def test_each_corpus_to_rows_of_text_and_back(real_data, tmp_path):
    out = tmp_path / "out.jsonl"
    for path, _ in listed(real_data):
        if path.name in NO_RECORDS or kind_of(path) != "documents":
            continue
        before = [(d.text, d.language) for d in read_documents(path)]
        assert convert(path, out, to="text", force=True).rows == len(before)
        assert [(d.text, d.language) for d in read_documents(out)] == before


def test_the_formats_are_told_in_the_help():
    from hanlin.cli.data.convert import convert as command

    option = next(param for param in command.params if param.name == "to")
    assert all(name in option.help for name in FORMATS)
