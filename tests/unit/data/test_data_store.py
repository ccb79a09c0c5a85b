"""What is written to a store is what is read, and damage is found when it is opened."""

import json
import pickle

import pytest

from hanlin.core.errors import InputError
from hanlin.data.store import StoreWriter, TokenStore


def test_the_layout_on_disk_is_the_documented_one(tmp_path):
    with StoreWriter(
        tmp_path / "store", tokenizer_sha256="abc", vocab_size=400, has_mask=True,
        prompt={"format": "plain", "probe_ids": [1, 2]}, seq_len=16,
    ) as writer:  # fmt: skip
        writer.begin("chat", language="zh", weight=2.0)
        writer.add([1, 5, 300], trained=[False, True, True], text_bytes=7)
        writer.add([1], trained=[False], text_bytes=1)
        assert writer.finish(bad_rows=3).trained_tokens == 2
    folder = tmp_path / "store"
    assert (folder / "chat.ids.bin").read_bytes() == bytes([1, 0, 5, 0, 44, 1, 1, 0])
    assert (folder / "chat.offsets.bin").read_bytes() == b"".join(
        number.to_bytes(8, "little") for number in (0, 3, 4)
    )
    assert (folder / "chat.mask.bin").read_bytes() == bytes([0, 1, 1, 0])
    assert json.loads((folder / "store.json").read_text()) == {
        "version": 2, "dtype": "uint16", "tokenizer_sha256": "abc", "has_mask": True,
        "prompt": {"format": "plain", "probe_ids": [1, 2]}, "seq_len": 16,
        "starts_inside": [], "sources": [
            {"name": "chat", "language": "zh", "weight": 2.0, "documents": 2, "tokens": 4,
             "trained_tokens": 2, "text_bytes": 8, "bad_rows": 3, "sentences": 0, "clauses": 0,
             "digests": 0},
        ],
    }  # fmt: skip


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    for vocab_size, dtype in ((1 << 16, "uint16"), ((1 << 16) + 1, "uint32")):
        with StoreWriter(tmp_path, tokenizer_sha256="t", vocab_size=vocab_size) as writer:
            writer.begin("a")
            writer.add([vocab_size - 1])
        store = TokenStore.open(tmp_path)
        assert store.header["dtype"] == dtype
        assert store.ids(0, 0, 1).tolist() == [vocab_size - 1]


def test_a_source_without_documents_can_be_read(make_store):
    store = make_store({"empty": (None, []), "a": (None, [2])})
    assert store.lengths(0).tolist() == []
    assert store.tokens == 2


def test_a_writer_that_fails_leaves_no_store(tmp_path):
    with (
        pytest.raises(RuntimeError),
        StoreWriter(tmp_path / "s", tokenizer_sha256="t", vocab_size=10) as writer,
    ):
        writer.begin("a")
        writer.add([1])
        raise RuntimeError
    with pytest.raises(InputError) as caught:
        TokenStore.open(tmp_path / "s")
    assert "is no token store" in str(caught.value)
    assert "hanlin data prepare corpus" in caught.value.fix


def test_a_cut_file_is_found(make_store):
    store = make_store({"a": (None, [4, 4])})
    file = store.path / "a.ids.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError) as caught:
        TokenStore.open(store.path)
    assert f"{file} is damaged" in str(caught.value)
    assert "expected 32 bytes, found 31" in caught.value.why


def test_another_version_is_refused(make_store):
    header = make_store({"a": (None, [1])}).path / "store.json"
    header.write_text('{"version": 99}')
    with pytest.raises(InputError, match="is not a token store of version 2") as caught:
        TokenStore.open(header.parent)
    assert "it has version 99; it is unknown here" in caught.value.why
    header.write_text('{"version": 1}')
    with pytest.raises(InputError) as caught:
        TokenStore.open(header.parent)
    assert "version 1; since then, stores know where sentences end" in caught.value.why
    assert "hanlin data prepare corpus" in caught.value.fix


def test_another_tokenizer_is_refused(make_store):
    store = make_store({"a": (None, [1])}, tokenizer_sha256="0123456789abcdef")
    store.check_tokenizer("0123456789abcdef", where="model")
    with pytest.raises(InputError) as caught:
        store.check_tokenizer("f" * 64, where="base/model")
    assert "was made with another tokenizer than base/model" in str(caught.value)
    assert "digest 0123456789ab against ffffffffffff" in caught.value.why


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="Not a directory"),
        StoreWriter(tmp_path / "file" / "store", tokenizer_sha256="t", vocab_size=10),
    ):
        pass


def test_doubled_names_and_missing_masks_are_our_mistakes(tmp_path):
    with StoreWriter(tmp_path, tokenizer_sha256="t", vocab_size=10, has_mask=True) as writer:
        writer.begin("a")
        with pytest.raises(ValueError, match="two sources are called 'a'"):
            writer.begin("a")
        with pytest.raises(ValueError, match="a mask of the same length"):
            writer.add([1, 2])
        with pytest.raises(ValueError, match="a mask of the same length"):
            writer.add([1, 2], trained=[True])


def test_a_store_goes_to_another_process_as_a_path(make_store):
    store = make_store({"a": (None, [3])})
    data = pickle.dumps(store)
    assert len(data) < 400
    assert pickle.loads(data).ids(0, 0, 3).tolist() == [0, 1, 2]
