"""The novels and the laws in rows of 1,024 tokens: nothing lost, nothing doubled, hardly a gap."""

from itertools import pairwise

import numpy as np
import pytest

from hanlin.data import prepare_corpus
from hanlin.data.corpus.clean import readable, tidy
from hanlin.data.corpus.segment import segments
from hanlin.data.pack import PackedRows
from hanlin.data.readers import read_documents
from hanlin.data.store import TokenStore
from hanlin.tokenization.load import load

SEQ_LEN = 1024
FILES = ("novel_hongloumeng.txt", "novel_xiyouji.txt", "laws_zh.jsonl")


@pytest.mark.real_data
def test_segments_of_the_novels_and_the_laws(real_data, run_stage, tmp_path):
    load(real_data / "tokenizers" / "llama" / "tokenizer.model").save(tmp_path / "llama")
    paths = [real_data / "corpus" / name for name in FILES]
    values = {
        "tokenizer": str(tmp_path / "llama"),
        "sources": [{"path": str(path), "name": path.stem} for path in paths],
        "drop_duplicates": False,
    }
    out = run_stage(prepare_corpus.STAGE, prepare_corpus.Config.model_validate(values))
    store, tokenizer = TokenStore.open(out / "store"), load(tmp_path / "llama")
    for source, path in enumerate(paths):
        texts = [tidy(readable(d.text, form="none")[0]) for d in read_documents(path)]
        starts, sizes = segments(store, source, seq_len=SEQ_LEN)
        assert sizes.max() <= SEQ_LEN
        assert starts[0] == 0 and (starts[1:] == (starts + sizes)[:-1]).all()
        assert int((starts + sizes)[-1]) == store.sources[source].tokens
        spans = pairwise(store.offsets(source).astype(int).tolist())
        assert [tokenizer.decode(store.ids(source, *span).tolist()) for span in spans] == texts
        ends = store.sentence_ends(source)
        assert np.isin(starts + sizes, ends).mean() > 0.99  # but for sentences longer than a row
    rows = PackedRows(store, seq_len=SEQ_LEN, seed=0)
    assert rows.fill > 0.99  # the ends of some documents fill gaps sentence by sentence,
    pieces = sorted(
        (piece.source, piece.start, piece.length)
        for index in range(rows.rows_per_epoch)
        for piece in rows.pieces(index)
    )
    assert all(a + n == b for (s, a, n), (t, b, _) in pairwise(pieces) if s == t)  # none is lost
    assert sum(length for *_, length in pieces) == store.tokens
