"""Pickles of plain lists are read; one that does anything else is refused, and nothing runs."""

import os
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows, detect, read_conversations
from hanlin.data.readers.kinds import kind_of
from hanlin.data.readers.pickle_rows import MAX_DEPTH, load_pickle
from hanlin.data.readers.token_ids import knowlm_types, read_token_ids

DIALOGUES = [
    [{"instruction": f"问{i}", "input": "" if i else "文", "output": f"答{i} 🙂"}]
    for i in range(2500)
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_dialogues_of_every_protocol(write, protocol):
    path = write("ift_data.pkl", pickle.dumps(DIALOGUES, protocol))
    assert load_pickle(path) == DIALOGUES
    conversations = list(read_conversations(path))
    assert len(conversations) == 2500
    assert conversations[0].messages[0].content == "问0\n文"
    assert conversations[7].line == 8
    assert kind_of(path) == "conversations"


def test_without_the_name_it_is_told_by_its_first_bytes(write):
    assert detect(write("data", pickle.dumps([["a"]]))) == "pickle"


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_calls_is_refused_and_nothing_runs(write, tmp_path, protocol):
    trace = tmp_path / "trace"
    rows = [*DIALOGUES[:2], Runs(os.system, (f"touch {trace}",))]
    path = write("bad.pkl", pickle.dumps(rows, protocol))
    with pytest.raises(InputError) as caught:
        list(read_conversations(path))
    assert "this pickle is refused, nothing in it was run" in str(caught.value)
    assert "GLOBAL" in caught.value.why
    assert "JSON lines" in caught.value.fix
    assert not trace.exists()


ALLOWED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "EMPTY_LIST", "APPEND", "APPENDS", "LIST",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "MARK", "GET", "BINGET", "LONG_BINGET", "PUT",
    "BINPUT", "LONG_BINPUT", "MEMOIZE", "PROTO", "FRAME", "STOP",
}  # fmt: skip


@pytest.mark.parametrize("opcode", [o for o in pickletools.opcodes if o.name not in ALLOWED],
                         ids=lambda o: o.name)  # fmt: skip
def test_every_other_opcode_is_refused(write, opcode):
    stop = b"."
    arguments = b"\1" + b"\0" * 8 + b"1\n1\n"
    path = write("x.pkl", b"\x80\4](K\1K\2" + opcode.code.encode("latin-1") + arguments + stop)
    with pytest.raises(InputError) as caught:
        load_pickle(path)
    assert "is refused" in str(caught.value) or "no sound pickle" in str(caught.value)


def nested(depth):
    value = "x"
    for _ in range(depth):
        value = [value]
    return value


def test_depth_sharing_and_size_are_limited(write, monkeypatch):
    assert load_pickle(write("a.pkl", pickle.dumps(nested(MAX_DEPTH)))) == nested(MAX_DEPTH)
    with pytest.raises(InputError, match="nested more than 8 deep"):
        load_pickle(write("a.pkl", pickle.dumps(nested(MAX_DEPTH + 1))))
    shared = ["lol"]
    for _ in range(4):
        shared = [shared] * 10
    with pytest.raises(InputError, match="uses a list or dictionary twice"):
        load_pickle(write("a.pkl", pickle.dumps(shared)))
    with pytest.raises(InputError, match="more than 64 bits"):
        load_pickle(write("a.pkl", pickle.dumps([1 << 70])))
    for value in ([True], [None], [1.5], [b"x"], [{"a"}], [("a",)]):
        with pytest.raises(InputError, match="refused"):
            load_pickle(write("a.pkl", pickle.dumps(value, 4)))
    monkeypatch.setattr("hanlin.data.readers.pickle_rows.MAX_BYTES", 1000)
    with pytest.raises(InputError, match="it is larger than"):
        load_pickle(write("a.pkl", pickle.dumps(DIALOGUES)))


def test_a_claim_of_many_bytes_makes_no_room(write):
    claim = b"\x80\4\x8d" + struct.pack("<Q", 1 << 40) + b"abc"
    with pytest.raises(InputError, match="no sound pickle"):
        load_pickle(write("a.pkl", claim))
    for cut in range(1, 60):
        with pytest.raises(InputError):
            load_pickle(write("a.pkl", pickle.dumps(DIALOGUES[:2], 4)[:cut]))


def test_half_a_character_is_a_bad_row(write):
    bad = BadRows(1)
    rows = [[{"instruction": "a", "output": "\ud83d"}], DIALOGUES[0]]
    assert len(list(read_conversations(write("a.pkl", pickle.dumps(rows)), bad=bad))) == 1
    assert [(r.line, r.reason[:6]) for r in bad.rows] == [(1, "half o")]


def test_token_ids_of_cutegpt(write):
    ids = [5, 6, 7, 2, 8, 9, 2, 4]
    labels = [-100, -100, 7, 2, -100, 9, 2, -100]
    value = {"input_ids": ids, "labels": labels, "attention_mask": [1] * 8}
    path = write("llama_ift_data_ids.pkl", pickle.dumps(value, 4))
    assert kind_of(path) == "token ids"
    samples = list(read_token_ids(path, end_id=2))
    assert [s.ids.tolist() for s in samples] == [[5, 6, 7, 2], [8, 9, 2], [4]]
    assert [s.trained.tolist() for s in samples] == [
        [False, False, True, True], [False, True, True], [False]
    ]  # fmt: skip
    with pytest.raises(InputError, match="a pickle of a dict, not of a list of rows"):
        list(read_conversations(path))
    broken_values = [{"labels": labels[1:]}, {"labels": [1] * 8}, {"input_ids": [-1] * 8},
                     {"input_ids": [[i] for i in ids]}]  # fmt: skip
    for broken in ({**value, **change} for change in broken_values):
        with pytest.raises(InputError, match=r"input_ids|labels"):
            list(read_token_ids(write("a.pkl", pickle.dumps(broken)), end_id=2))


def write_knowlm(folder, samples, types=None):
    """Write a store as KnowLM's pretrain/preprocess.py does."""
    lengths = [len(sample) for sample in samples]
    starts = np.cumsum([0, *lengths])[:-1]
    (folder / "k.bin").write_bytes(b"".join(np.asarray(s, "<u2").tobytes() for s in samples))
    (folder / "k.idx").write_bytes(
        np.asarray(starts, "<u8").tobytes() + np.asarray(lengths, "<u2").tobytes()
    )
    if types is not None:
        with zipfile.ZipFile(folder / "k.dis", "w") as archive:
            archive.writestr("k/data.pkl", pickle.dumps(types, 2))
    return folder / "k.idx"


def test_a_store_of_knowlm(tmp_path):
    samples = [[1, 65535, 2], [1, 7, 8, 2], [1, 2]]
    path = write_knowlm(tmp_path, samples, [2, 1])
    for file in (path, path.with_suffix(".bin")):
        assert kind_of(file) == "token ids"
        assert [s.ids.tolist() for s in read_token_ids(file, end_id=2)] == samples
    assert all(s.trained.all() for s in read_token_ids(path, end_id=2))
    assert knowlm_types(path) == [2, 1]


def test_dis_as_torch_saves_it(tmp_path):
    import torch

    path = write_knowlm(tmp_path, [[1, 2], [3, 2]])
    torch.save([1, 1], path.with_suffix(".dis"))
    assert knowlm_types(path) == [1, 1]
    torch.save([torch.zeros(2)], path.with_suffix(".dis"))
    with pytest.raises(InputError, match="refused"):
        knowlm_types(path)


def test_a_store_whose_files_do_not_fit_is_refused(tmp_path):
    path = write_knowlm(tmp_path, [[1, 2, 3], [4, 5]], [3])
    with pytest.raises(InputError, match=r"k\.dis counts 3 samples, not 2"):
        list(read_token_ids(path, end_id=2))
    path.with_suffix(".dis").unlink()
    path.with_suffix(".bin").write_bytes(b"\1\0" * 4)
    with pytest.raises(InputError, match="do not belong together"):
        list(read_token_ids(path, end_id=2))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is cut off"):
        list(read_token_ids(path, end_id=2))
    path.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"k\.bin"):
        list(read_token_ids(path, end_id=2))
