"""Whatever the number of processes, a step sees its own rows, each once; and can be sought."""

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, SequentialSampler

from hanlin.data.pack import PackedRows
from hanlin.data.store import StoreWriter, TokenStore

STEPS = 5


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    lengths = np.random.default_rng(0).integers(1, 20, 60)
    first = 0
    with StoreWriter(folder, tokenizer_sha256="t", vocab_size=1 << 20) as writer:
        writer.begin("a")
        for length in lengths.tolist():
            writer.add(list(range(first, first + length)))
            first += length
    return PackedRows(TokenStore.open(folder), seq_len=24, seed=7)


def batches_of(rank, *, world_size, micro_batch_size, accumulation, skipped_steps=0):
    """Return the row numbers of each micro-batch of one process, as the trainer's loader does."""
    count = STEPS * micro_batch_size * accumulation * world_size
    sampler = BatchSampler(SequentialSampler(range(count)), micro_batch_size, drop_last=False)
    shard = BatchSamplerShard(sampler, num_processes=world_size, process_index=rank)
    return list(SkipBatchSampler(shard, skip_batches=skipped_steps * accumulation))


@settings(max_examples=60, deadline=None)
@given(
    world_size=st.integers(1, 5), micro_batch_size=st.integers(1, 4), accumulation=st.integers(1, 3)
)
def test_the_processes_share_out_every_step(rows, world_size, micro_batch_size, accumulation):
    shape = {"micro_batch_size": micro_batch_size, "accumulation": accumulation}
    parts = [batches_of(rank, world_size=world_size, **shape) for rank in range(world_size)]
    per_step = micro_batch_size * accumulation * world_size
    for step in range(STEPS):
        seen = [
            index
            for part in parts
            for batch in part[step * accumulation : (step + 1) * accumulation]
            for index in batch
        ]
        assert sorted(seen) == list(range(step * per_step, (step + 1) * per_step))
    tokens = [rows.row(i).ids for part in parts for batch in part for i in batch]
    alone = [rows.row(i).ids for i in range(STEPS * per_step)]
    assert sorted(map(tuple, tokens)) == sorted(map(tuple, alone))


@settings(max_examples=40, deadline=None)
@given(
    world_size=st.integers(1, 4), micro_batch_size=st.integers(1, 3),
    accumulation=st.integers(1, 3), step=st.integers(0, STEPS - 1), data=st.data(),
)  # fmt: skip
def test_a_step_that_is_sought_is_the_one_that_is_reached(
    rows, world_size, micro_batch_size, accumulation, step, data
):
    rank = data.draw(st.integers(0, world_size - 1))
    shape = {
        "world_size": world_size,
        "micro_batch_size": micro_batch_size,
        "accumulation": accumulation,
    }
    reached = batches_of(rank, **shape)[step * accumulation :]
    sought = batches_of(rank, skipped_steps=step, **shape)
    assert sought == reached
    again = PackedRows(rows.store, seq_len=24, seed=7)  # knows nothing of the rows before
    for index in sought[0]:
        assert again.row(index).ids.tolist() == rows.row(index).ids.tolist()
