"""Real novels and laws fill rows: whole sentences, hardly any padding."""

import pytest

from hanlin.data import prepare_corpus
from hanlin.data.pack import PackedRows
from hanlin.data.store import TokenStore

FILES = ("laws_zh.jsonl", "novel_hongloumeng.txt", "novel_xiyouji.txt")


@pytest.mark.real_data
def test_rows_of_1024_tokens_are_99_percent_text(real_data, run_stage):
    sources = [
        {"path": str(real_data / "corpus" / file), "name": f"s{number}"}
        for number, file in enumerate(FILES)
    ]
    config = prepare_corpus.Config(tokenizer=str(real_data / "tokenizers/llama"), sources=sources)
    store = TokenStore.open(run_stage(prepare_corpus.STAGE, config) / "store")
    rows = PackedRows(store, seq_len=1024, seed=0)
    assert rows.fill > 0.99
    assert rows.tokens_per_epoch == store.tokens
