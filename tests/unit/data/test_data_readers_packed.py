"""Files in .gz, .xz and .zst, rows without an end, and files that are no data."""

import gzip
import json
import lzma
import tracemalloc

import pytest
import zstandard

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows, detect, opened, read_conversations, read_documents

PACK = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}
ROWS = [{"instruction": f"问题{i} 🙂", "output": f"答{i}"} for i in range(30)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a"])
def test_packed_files_are_told_by_their_content(write, packing, name):
    plain = list(read_conversations(write("plain.jsonl", LINES)))
    path = write(f"{name}.{packing}", PACK[packing](LINES))
    assert [c.messages for c in read_conversations(path)] == [c.messages for c in plain]
    assert detect(path) == "json"
    listed = write("listed", PACK[packing](json.dumps(ROWS).encode()))
    assert [c.messages for c in read_conversations(listed)] == [c.messages for c in plain]
    assert [c.line for c in read_conversations(listed)] == list(range(1, 31))


def test_text_and_csv_too_and_several_frames(write):
    assert next(read_documents(write("a.txt.gz", gzip.compress("甲\n\n乙".encode())))).text == (
        "甲\n\n乙"
    )
    path = write("a.csv.zst", PACK["zst"](b"text\nx\n") + PACK["zst"](b"y\n"))
    assert [d.text for d in read_documents(path)] == ["x", "y"]


@pytest.mark.parametrize("packing", PACK)
def test_a_damaged_file_gives_its_first_rows_and_then_an_error(write, packing):
    noise = [{"text": f"{i * 7919 % 104729}"} for i in range(60_000)]
    data = PACK[packing]("".join(json.dumps(row) + "\n" for row in noise).encode())
    path = write(f"a.jsonl.{packing}", data[: len(data) // 2])
    rows = read_documents(path)
    assert next(rows).text == "0"
    with pytest.raises(InputError, match="damaged compressed file") as caught:
        list(rows)
    assert "fetch or pack the file again" in caught.value.fix


def test_a_row_without_an_end_is_left_out_in_bounded_memory(write, monkeypatch):
    monkeypatch.setattr(opened, "MAX_ROW_BYTES", 1 << 16)
    bomb = b'{"text": "' + b"x" * 50_000_000 + b'"}\n'
    path = write("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' + bomb + b'{"text": "b"}\n'))
    assert path.stat().st_size < 100_000
    bad = BadRows(1)
    tracemalloc.start()
    assert [d.text for d in read_documents(path, bad=bad)] == ["a", "b"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert [(row.line, row.reason[:11]) for row in bad.rows] == [(2, "longer than")]


def test_an_element_without_an_end_is_refused(write, monkeypatch):
    from hanlin.data.readers import json_rows

    monkeypatch.setattr(json_rows, "MAX_ROW_BYTES", 1 << 16)
    path = write("a.json.gz", gzip.compress(b'["a", "' + b"x" * 20_000_000))
    with pytest.raises(InputError, match="not valid JSON"):
        list(read_documents(path))


def test_memory_does_not_grow_with_a_list(write):
    def peak(rows):
        path = write("a.json", "[" + ",".join(f'{{"text": "{i:0500}"}}' for i in range(rows)) + "]")
        tracemalloc.start()
        assert sum(1 for _ in read_documents(path)) == rows
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(10)
    assert peak(40_000) < 1.2 * peak(10_000)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\n  \n", "is empty"),
        ("a.txt", "\ufeff你好".encode("utf-16"), "is UTF-16 text"),
        ("a.txt", b"\x7fELF\0\0\1", "is a binary file of an unknown format"),
        ("a.zip", b"PK\3\4\0\0\0", "is a binary file of an unknown format"),
        ("a.jsonl", b'{"text": "\0"}', "is a binary file of an unknown format"),
        ("a.jsonl", b"\xff\xfa\n" * 9, "9 times: not UTF-8 text"),
    ],
)
def test_what_is_no_data_is_explained(write, name, content, message):
    path = write(name, content)
    with pytest.raises(InputError) as caught:
        list(read_documents(path, bad=BadRows(1)))
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_another_encoding_says_how_to_convert_it(write):
    path = write("a.txt", "第一回\n\n甄士隐\n".encode("gb18030"))
    with pytest.raises(InputError) as caught:
        list(read_documents(path))
    assert "not UTF-8 text" in caught.value.why
    assert f"iconv -f GB18030 -t UTF-8 {path} > NEW_FILE" in caught.value.fix


def test_a_stray_zero_byte_makes_no_binary_file(write):
    path = write("a.txt", "字" * 400 + "\0" + "字" * 400)
    assert len(next(read_documents(path)).text) == 801


def test_folders_and_missing_files(write, tmp_path):
    write("folder/a.jsonl", [{"text": "a"}])
    write("folder/sub/b.txt", "b")
    write("folder/.hidden", b"\0")
    assert [d.text for d in read_documents(tmp_path / "folder")] == ["a", "b"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="is empty"):
        list(read_documents(tmp_path / "none"))
    with pytest.raises(InputError, match=r"data/chat.jsonl does not exist"):
        read_documents("data/chat.jsonl")
