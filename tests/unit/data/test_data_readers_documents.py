"""Texts from plain text, JSON and JSON lines, whatever the file is called."""

import json

import pytest

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows, detect, read_documents
from hanlin.data.readers.documents import TEXT_CHARACTERS


def texts(path, **options):
    return [document.text for document in read_documents(path, **options)]


def test_json_lines(write):
    rows = [{"text": "你好", "language": "zh"}, {"text": "Hi 🙂"}, "a bare text", {"content": "c"}]
    path = write("a.jsonl", rows)
    documents = list(read_documents(path))
    assert [d.text for d in documents] == ["你好", "Hi 🙂", "a bare text", "c"]
    assert [d.language for d in documents] == ["zh", None, None, None]
    assert [d.line for d in documents] == [1, 2, 3, 4]
    assert documents[0].source == str(path)


def test_poems_have_a_title_and_paragraphs(write):
    rows = [
        {"title": "静夜思", "author": "李白", "paragraphs": ["床前明月光", "疑是地上霜"]},
        {"rhythmic": "导引", "paragraphs": ["气和玉烛"]},
        {"paragraphs": ["无题"]},
    ]
    path = write("poems.json", json.dumps(rows, ensure_ascii=False, indent=2))
    documents = list(read_documents(path))
    assert [d.text for d in documents] == [
        "静夜思\n床前明月光\n疑是地上霜",
        "导引\n气和玉烛",
        "无题",
    ]
    assert [d.line for d in documents] == [2, 10, 16]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.txt", "a"])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_content_decides_not_the_name(write, name, indent):
    rows = [{"text": "一"}, {"text": "two"}]
    assert texts(write(name, json.dumps(rows, indent=indent))) == ["一", "two"]
    assert texts(write(name, rows)) == ["一", "two"]
    assert texts(write(name, "\ufeff" + json.dumps(rows))) == ["一", "two"]


def test_a_text_that_begins_with_a_bracket_is_text(write):
    assert detect(write("a.txt", "[1] A footnote")) == "text"
    assert detect(write("b.txt", "{curly} braces")) == "text"
    assert detect(write("c.txt", "")) == "text"
    assert detect(write("c.CSV", "")) == "csv"


def test_paragraphs_between_blank_lines_are_joined_up_to_a_page(write):
    long = "长" * (TEXT_CHARACTERS - 10)
    path = write("novel.txt", f"第一回\r\n\r\n　　甄士隐\r\n梦幻\r\n\r\n\r\n{long}\r\n\r\nend\r\n")
    documents = list(read_documents(path))
    assert [d.text for d in documents] == ["第一回\n\n　　甄士隐\n梦幻", f"{long}\n\nend"]
    assert [d.line for d in documents] == [1, 7]


def test_without_blank_lines_each_line_is_a_block(write):
    article = "A" * (TEXT_CHARACTERS + 5)
    path = write("wiki.txt", f"{article}\nshort one\nshort two\n{article}\n\n\n")
    assert texts(path) == [article, "short one\nshort two", article]


def test_a_folder_is_read_in_the_order_of_names(write, tmp_path):
    write("corpus/b.txt", "second")
    write("corpus/a.jsonl", [{"text": "first"}])
    write("corpus/.hidden", "not this")
    write("corpus/sub/c.txt", "third")
    assert texts(tmp_path / "corpus") == ["first", "second", "third"]


def test_a_broken_line_is_counted_and_the_rest_is_read(write):
    lines = [json.dumps({"text": f"row {i}"}) for i in range(300)]
    lines[41] = '{"text": "cut'
    lines[100] = '{"no": "text"}'
    path = write("a.jsonl", "\n".join(lines))
    bad = BadRows()
    assert len(texts(path, bad=bad)) == 298
    assert [(row.line, row.reason.split(":")[0]) for row in bad.rows] == [
        (42, "not JSON"),
        (101, "no text"),
    ]


def test_too_many_bad_rows_stop_with_their_lines(write):
    path = write("a.jsonl", '{"text": "ok"}\n{"text": 1}\nnot json\n' + '{"text": "ok"}\n' * 7)
    with pytest.raises(InputError) as caught:
        texts(path)
    message = str(caught.value)
    assert f"{path}: 2 of 10 rows cannot be used" in message
    assert "more than 1.0% of the rows are bad:" in message
    assert f'{path}:2: no text: expected {{"text": ...}}' in message
    assert f"{path}:3: not JSON: Expecting value" in message
    assert "max_bad_rows: 0.2" in caught.value.fix
    assert texts(path, bad=BadRows(max_share=0.2)) == ["ok"] * 8


def test_text_that_is_not_utf8_is_a_bad_row(write):
    bad = BadRows(max_share=1)
    path = write("a.txt", "好\n".encode() + "坏".encode("gb18030") + "\n中".encode())
    assert texts(path, bad=bad) == ["好\n中"]
    assert (bad.rows[0].line, "not UTF-8" in bad.rows[0].reason) == (2, True)
    path = write("b.jsonl", b'{"text": "ok"}\n{"text": "\xff"}\n')
    assert texts(path, bad=bad) == ["ok"]
    assert bad.rows[1].line == 2


@pytest.mark.parametrize("content", ["", "\n \n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json"])
def test_an_empty_corpus_is_an_error(write, name, content):
    path = write(name, content)
    with pytest.raises(InputError) as caught:
        texts(path)
    assert f"{path} is empty" in str(caught.value)


def test_an_empty_list_is_an_empty_corpus(write):
    with pytest.raises(InputError, match="is empty: it gives no rows"):
        texts(write("a.json", "[]"))


def test_a_missing_file_and_a_wrong_format_are_explained(write, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.txt does not exist"):
        read_documents(tmp_path / "nowhere.txt")
    with pytest.raises(InputError) as caught:
        texts(write("a.idx", b"\0" * 10))
    assert "knowlm is no document format" in str(caught.value)
    assert "known: text, bio, json" in caught.value.why
