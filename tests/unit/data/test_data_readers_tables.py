"""CSV, TSV, Parquet, Arrow, data sets of the Hugging Face hub, and sentences with tags."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows, detect, read_conversations, read_documents
from hanlin.data.readers.kinds import kind_of


def texts(path, **options):
    return [document.text for document in read_documents(path, **options)]


def test_csv_with_a_line_of_names(write):
    path = write("a.csv", '\ufeffid,Text,language\n1,"甲,\n""乙""",zh\n\n2,b,en\n')
    assert texts(path) == ['甲,\n"乙"', "b"]
    assert [d.line for d in read_documents(path)] == [2, 5]
    assert [d.language for d in read_documents(path)] == ["zh", "en"]
    path = write("b.csv", "instruction,input,output\n翻译,你好,Hi 🙂\n")
    assert [m.content for m in next(read_conversations(path)).messages] == ["翻译\n你好", "Hi 🙂"]
    assert kind_of(path) == "conversations"
    assert kind_of(write("c.csv", "0,谁？,甲,乙,B\n")) == "questions"


def test_rows_of_csv_that_cannot_be_used(write):
    bad = BadRows(1)
    path = write("a.csv", b"text,language\na,zh\nb\n\xff\xfe,zh\nc,zh\n")
    assert texts(path, bad=bad) == ["a", "c"]
    assert [(r.line, r.reason) for r in bad.rows] == [
        (3, "1 cells, expected 2"), (4, "not UTF-8 text")
    ]  # fmt: skip
    with pytest.raises(InputError, match="the first line names no column that is known"):
        texts(write("b.csv", "1,2,3\n"))


def test_a_quote_that_is_never_closed_is_bounded(write, monkeypatch):
    monkeypatch.setattr("hanlin.data.readers.csv_rows.MAX_ROW_BYTES", 1000)
    path = write("a.csv", 'text\n"a\n' + "b\n" * 2000)
    with pytest.raises(InputError, match=r"a.csv:2: this is not readable CSV"):
        texts(path)


def test_tsv_and_lines_of_relations(write):
    assert texts(write("a.tsv", 'text\tid\n"甲"\t1\n')) == ['"甲"']
    assert texts(write("b.tsv", "东方航空\t上航\t合并\t东方航空将与上航合并\n")) == [
        "东方航空将与上航合并"
    ]
    bad = BadRows()
    assert texts(write("c.tsv", "甲\t乙\tr\t甲和乙\n"), bad=bad) == ["甲和乙"]
    assert bad.notes == {"field head": 1, "field tail": 1, "field relation": 1}


def test_json_in_a_file_called_csv(write):
    assert texts(write("a.csv", '{"text": "a"}\n{"text": "b"}\n')) == ["a", "b"]


ROWS = [
    {"messages": [{"role": "user", "content": f"问{i}", "weight": None},
                  {"role": "assistant", "content": f"答{i} 🙂", "weight": i % 2}], "id": i}
    for i in range(600)
]  # fmt: skip


def test_parquet(write, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    bad = BadRows()
    found = list(read_conversations(path, bad=bad))
    assert len(found) == 600 and bad.notes == {"field id": 600}
    assert [c.messages[1].is_trained for c in found[:2]] == [False, True]
    assert found[599].line == 600 and found[599].messages[1].content == "答599 🙂"
    assert detect(path) == "parquet" and kind_of(path) == "conversations"
    import gzip

    packed = write("b.parquet.gz", gzip.compress(path.read_bytes()))
    assert [c.messages for c in read_conversations(packed)] == [c.messages for c in found]
    with pytest.raises(InputError, match="not a readable Parquet or Arrow file"):
        list(read_conversations(write("c.parquet", path.read_bytes()[:-100])))


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_saved_data_set(tmp_path, is_stream):
    """As `Dataset.save_to_disk` leaves it: Arrow streams, and JSON that describes them."""
    table = pa.Table.from_pylist(ROWS)
    for part in range(2):
        file = tmp_path / "set" / "train" / f"data-0000{part}-of-00002.arrow"
        file.parent.mkdir(parents=True, exist_ok=True)
        make = pa.ipc.new_stream if is_stream else pa.ipc.new_file
        with make(str(file), table.schema) as writer:
            writer.write_table(table.slice(300 * part, 300))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (tmp_path / "set" / "train" / "state.json").write_text("{}")
    (tmp_path / "set" / "README.md").write_text("# About")
    found = list(read_conversations(tmp_path / "set"))
    assert [c.messages[0].content for c in found] == [f"问{i}" for i in range(600)]


def test_a_folder_of_the_hub_from_the_cache(tmp_path, monkeypatch):
    """`owner/name` is found in the hub's cache without a connection."""
    import huggingface_hub.constants

    repository = tmp_path / "datasets--owner--set"
    snapshot = repository / "snapshots" / ("a" * 40)
    (snapshot / "zh").mkdir(parents=True)
    (snapshot / "zh" / "train.jsonl").write_text(json.dumps({"text": "甲"}))
    (snapshot / "en.jsonl").write_text(json.dumps({"text": "b"}))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert texts("owner/set") == ["b", "甲"]
    assert texts("owner/set/zh") == ["甲"]
    with pytest.raises(InputError) as caught:
        texts("owner/other")
    assert "owner/other is neither here nor a data set that can be fetched" in str(caught.value)
    assert "hf download --repo-type dataset owner/other" in caught.value.fix


def test_sentences_with_tags(write):
    path = write("a.bio", "近 O\n江 B-LOC\n苏 I-LOC\n。 O\n\n中 O\n")
    assert texts(path) == ["近江苏。", "中"]
    assert [d.line for d in read_documents(path)] == [1, 6]
    english = "It\tO\n's\tO\nin\tO\nNew\tB-location\nYork\tI-location\n中\tO\n文\tO\n"
    assert texts(write("a.conll", english)) == ["It 's in New York中文"]
    placed = "科0\tO\n技1\tO\nA0\tO\n\n你0\tB-PER.NAM\n"
    assert texts(write("b.conll", placed)) == ["科技A", "你"]
    assert detect(write("c", english)) == "bio"
    bad = BadRows(1)
    assert texts(write("d.bio", b"a O\nb\nc O\n\xff O\nd O\n"), bad=bad) == ["a c d"]
    assert [(r.line, r.reason) for r in bad.rows] == [
        (2, "no token with a tag"), (4, "not UTF-8 text")
    ]  # fmt: skip
