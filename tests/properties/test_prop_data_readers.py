"""Whatever bytes a file holds: records, or an error that says what is wrong with it."""

import gzip
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.errors import HanlinError, InputError
from hanlin.data.readers import BadRows, read_conversations, read_documents
from hanlin.data.readers.kinds import kind_of
from hanlin.data.readers.pickle_rows import load_pickle

NAMES = ["a", "a.txt", "a.json", "a.jsonl", "a.csv", "a.tsv", "a.pkl", "a.bio", "a.parquet",
         "a.arrow", "a.jsonl.gz"]  # fmt: skip
STARTS = [b"", b"\xef\xbb\xbf", b"[", b'[{"', b'{"text": "', b'{"messages": [', b"text,id\n",
          b"\x80\x04]", b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"\x28\xb5\x2f\xfd",
          b"\xfd7zXZ\0", b"\x1f\x8b\x08", b"a O\nb B-X\nc O\n",
          b'{"conversations": [{"from": "gpt"',
          b'{"instruction": "a", "output": "b", "history": ', b"Human"]  # fmt: skip
WORD = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PLAIN = st.recursive(
    WORD | st.integers(-(2**63), 2**63),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=3), inner, max_size=3
        )
    ),
    max_leaves=8,
)


def depth(value):
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(depth, parts), default=0) + isinstance(value, list | dict)


@settings(deadline=None, max_examples=150)
@given(
    name=st.sampled_from(NAMES),
    start=st.sampled_from(STARTS),
    rest=st.binary(max_size=60) | st.text(max_size=40).map(lambda t: t.encode("utf-8", "replace")),
    is_packed=st.booleans(),
)
def test_any_bytes_are_read_or_refused(name, start, rest, is_packed):
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(gzip.compress(start + rest) if is_packed else start + rest)
        for read in (read_documents, read_conversations):
            try:
                records = list(read(path, bad=BadRows(1)))
            except HanlinError as error:
                assert str(error)
            else:
                assert records
        try:
            kind_of(path)
        except HanlinError as error:
            assert str(path) in str(error)


@settings(deadline=None, max_examples=150)
@given(value=PLAIN.filter(lambda v: depth(v) <= 8), protocol=st.integers(0, 5), data=st.data())
def test_a_pickle_is_read_or_refused(value, protocol, data):
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.pkl")
        packed = bytearray(pickle.dumps(value, protocol))
        path.write_bytes(packed)
        assert load_pickle(path) == value
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(packed)
        try:
            load_pickle(path)
        except InputError as error:
            assert str(path) in str(error)
