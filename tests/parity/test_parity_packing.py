"""A packed row gives each document the logits that it has alone."""

import pytest
import torch

from hanlin.data.collate import collate, mask_dtype_for
from hanlin.data.pack import PackedRows
from hanlin.data.store import StoreWriter, TokenStore
from hanlin.models.tiny import Architecture, new_llama


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_of_packed_documents_equal_those_of_each_alone(tmp_path, attention):
    torch.manual_seed(0)
    lengths = [9, 17, 5, 30, 3, 12, 40, 1, 8]
    documents = [torch.randint(3, 100, (length,)).tolist() for length in lengths]
    with StoreWriter(tmp_path / "store", tokenizer_sha256="t", vocab_size=100) as writer:
        writer.begin("a")
        for document in documents:
            writer.add(document)
    rows = PackedRows(TokenStore.open(tmp_path / "store"), seq_len=32, seed=0)
    model = new_llama(Architecture(hidden_size=32, layers=2, heads=2), 100, seed=0)
    model.set_attn_implementation(attention)
    batch = [rows.row(index) for index in range(rows.rows_per_epoch)]
    inputs = collate(batch, pad_id=0, seq_len=32, mask_dtype=mask_dtype_for(model))
    labels = inputs.pop("labels")
    with torch.no_grad():
        packed = model(**inputs, use_cache=False).logits
        loss = model(**inputs, labels=labels, use_cache=False).loss
        negative_log_likelihood, count = 0.0, 0
        for b, row in enumerate(batch):
            at = 0
            for length in row.lengths:
                ids = torch.from_numpy(row.ids[at : at + length])[None]
                alone = model(ids, use_cache=False).logits
                difference = (packed[b, at : at + length] - alone[0]).abs().max()
                assert difference < 1e-5
                if length > 1:
                    negative_log_likelihood += torch.nn.functional.cross_entropy(
                        alone[0, :-1], ids[0, 1:], reduction="sum"
                    )
                    count += length - 1
                at += length
    assert any(len(row.lengths) > 1 for row in batch)
    assert any(len(row.ids) < 32 for row in batch)
    assert loss.item() == pytest.approx(negative_log_likelihood.item() / count, abs=1e-5)
