"""Tensors of a batch: padding, positions and a mask with walls between documents."""

import numpy as np
import torch

from hanlin.data.collate import collate, mask_dtype_for
from hanlin.data.pack import IGNORED, Row


def row(*lengths):
    ids = np.arange(1, sum(lengths) + 1)
    return Row(ids, ids.copy(), lengths)


def test_a_batch():
    batch = collate([row(2, 1), row(4)], pad_id=0, seq_len=4)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 0], [1, 2, 3, 4]]
    assert batch["labels"].tolist() == [[1, 2, 3, IGNORED], [1, 2, 3, 4]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 0], [0, 1, 2, 3]]
    assert batch["attention_mask"].shape == (2, 1, 4, 4)
    assert batch["attention_mask"][0, 0].int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]
    assert torch.equal(batch["attention_mask"][1, 0], torch.ones(4, 4).tril().bool())


def test_a_mask_to_be_added_is_zero_where_one_may_look():
    seen = collate([row(2, 1)], pad_id=0, seq_len=4)["attention_mask"]
    added = collate([row(2, 1)], pad_id=0, seq_len=4, mask_dtype="float32")["attention_mask"]
    assert added.dtype == torch.float32
    assert torch.equal(added == 0, seen)
    assert (added[~seen] == torch.finfo(torch.float32).min).all()


def test_the_mask_type_follows_the_attention():
    class Model:
        dtype = torch.bfloat16

        class config:  # noqa: N801 - as in transformers
            _attn_implementation = "eager"

    assert mask_dtype_for(Model()) == "bfloat16"
    Model.config._attn_implementation = "sdpa"
    assert mask_dtype_for(Model()) == "bool"
