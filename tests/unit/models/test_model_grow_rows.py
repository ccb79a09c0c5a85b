"""How the rows of new entries are made of old ones."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.errors import InputError
from hanlin.models import grow_table as module
from hanlin.models.grow_table import Table, grow_table
from hanlin.models.row_init import recipe

PARTS = [[0, 2], [5], [1, 3, 4]]


def grown(rows_VD, parts, *, known=None, rows=None, init="mean", side="input", block=3, seed=0):
    known = len(rows_VD) if known is None else known
    table = Table("table", lambda: iter(rows_VD.split(block)), known)
    rows = max(len(rows_VD), known + len(parts)) if rows is None else rows
    made = recipe(parts, init, side=side)
    return torch.cat(list(grow_table(table, made, rows=rows, seed=seed)))


def table_of(rows, width=4, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_rows_kept_for_padding_are_used_first():
    rows_VD = torch.arange(20.0).reshape(10, 2)
    grown_WD = grown(rows_VD, [[0, 2], [5]], known=6)
    assert grown_WD.shape == (10, 2)
    assert torch.equal(grown_WD[:6], rows_VD[:6])
    assert torch.equal(grown_WD[6:8], torch.tensor([[2.0, 3.0], [10.0, 11.0]]))
    assert torch.equal(grown_WD[8:], rows_VD[8:])


def test_weights_of_the_first_and_the_last_token():
    rows_VD = table_of(6)
    e = math.exp(-2)
    late = (e * rows_VD[0] + rows_VD[2]) / (1 + e)
    early = (rows_VD[0] + e * rows_VD[2]) / (1 + e)
    for side, expected in (("input", late), ("output", early), ("both", (late + early) / 2)):
        made = grown(rows_VD, PARTS, init="exponential", side=side)
        torch.testing.assert_close(made[6], expected)
        torch.testing.assert_close(made[7], rows_VD[5])


def test_order_tells_rows_apart_only_where_it_counts():
    rows_VD = table_of(6)
    mean = grown(rows_VD, [[0, 1], [1, 0]])
    assert not torch.equal(mean[6], mean[7])  # by noise
    torch.testing.assert_close(mean[6], rows_VD[:2].mean(0), atol=0.1, rtol=0)
    exact = recipe([[0, 1], [1, 0]], "exponential", side="input")
    assert not exact.noise.any()


def test_random_and_global_mean_follow_the_old_rows():
    rows_VD = 3 + 2 * table_of(4000)
    random = grown(rows_VD, [[0]] * 4000, init="random", block=900)[4000:]
    torch.testing.assert_close(random.mean(0), rows_VD.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(random.std(0), rows_VD.std(0), atol=0.1, rtol=0)
    middle = grown(rows_VD, [[0], [1]], init="global-mean", block=900)[4000:]
    torch.testing.assert_close(middle, rows_VD.mean(0).expand(2, 4), atol=0.1, rtol=0)
    assert not torch.equal(middle[0], middle[1])


@pytest.mark.parametrize("init", ["mean", "exponential", "global-mean", "random"])
def test_no_row_is_zero(init):
    rows_VD = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0]])
    grown_WD = grown(rows_VD, [[0], [], [0, 0]], rows=9, init=init)
    assert (grown_WD[3:] != 0).any(1).all()
    assert len({tuple(row) for row in grown_WD.tolist()}) == 9


def test_random_rows_follow_the_seed():
    made = [grown(table_of(50), [[1]] * 9, init="random", seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_rows_too_small_for_their_type():
    rows_VD = torch.full((4, 2), 6e-8).half()
    with pytest.raises(InputError, match=r"would be zero in torch\.float16") as caught:
        grown(rows_VD * torch.tensor([[1.0], [0], [0], [0]]).half(), [[0, 1, 2, 3]])
    assert "never learn" in caught.value.why and "float32" in caught.value.fix


parts = st.lists(st.lists(st.integers(0, 6), max_size=4), max_size=9)


@settings(max_examples=100, deadline=None)
@given(parts=parts, block=st.integers(1, 8), extra=st.integers(0, 4), spare=st.integers(0, 12))
def test_blocks_and_chunks_do_not_show(parts, block, extra, spare):
    """The stream gives what the whole table at once would give; kept rows keep every bit."""
    rows_VD = table_of(7 + spare).half()
    rows = max(len(rows_VD), 7 + len(parts)) + extra
    made = grown(rows_VD, parts, known=7, rows=rows, block=block)
    assert made.shape == (rows, 4) and made.dtype == torch.float16
    assert torch.equal(made[:7], rows_VD[:7])
    behind = rows_VD[7 + len(parts) :]
    assert torch.equal(made[7 + len(parts) :][: len(behind)], behind)
    old_VD = rows_VD[:7].float()
    for ids, row in zip(parts, made[7:], strict=False):
        expected = old_VD[ids].mean(0) if ids else old_VD.mean(0)
        torch.testing.assert_close(row.float(), expected, atol=0.08, rtol=0)


def test_many_new_rows_are_made_in_chunks(monkeypatch):
    rows_VD = table_of(20)
    parts = [[i % 20, (i * 7) % 20, (i * i) % 20] for i in range(50)]
    whole = grown(rows_VD, parts, init="exponential", block=20)
    monkeypatch.setattr(module, "CHUNK_BYTES", 7 * 16)
    monkeypatch.setattr(module, "STEP_BYTES", 5 * 16)
    exact = recipe(parts, "exponential", side="input").noise == 0
    made = grown(rows_VD, parts, init="exponential", block=3)
    torch.testing.assert_close(made[20:][exact], whole[20:][exact])
    assert torch.equal(made[:20], whole[:20])
