"""Every batch holds the same number of rows of each source; no token of an epoch is lost."""

from collections import Counter

import numpy as np
import pytest

from hanlin.core.config import ConfigSource, validate
from hanlin.core.errors import ConfigError
from hanlin.data.proportional import ProportionalRows
from hanlin.training import pretrain

SOURCES = {"zh": (3.0, [8] * 30), "en": (1.0, [8] * 10), "code": (1.0, [5] * 7)}


def test_batches_have_fixed_shares_and_every_source_is_seen(make_store):
    store = make_store(SOURCES)
    rows = ProportionalRows(store, seq_len=8, seed=1, rows_per_batch={"zh": 3, "en": 2, "code": 0})
    assert (rows.batch_size, rows.batches_per_epoch, rows.rows_per_epoch) == (5, 10, 50)
    assert rows.tokens_per_epoch == 400 and rows.fill == 1.0
    seen: Counter[int] = Counter()
    for batch in range(rows.batches_per_epoch):
        pieces = [rows.pieces(batch * 5 + i) for i in range(5)]
        assert [piece[0].source for piece in pieces] == [0, 0, 0, 1, 1]
        for i in range(5):
            seen.update(rows.row(batch * 5 + i).ids.tolist())
    assert {seen[token] for token in range(240)} == {1}
    assert {seen[token] for token in range(240, 320)} == {2}  # the short source came twice


def test_a_row_is_the_same_whether_sought_or_reached(make_store):
    store = make_store(SOURCES)
    options = {"seq_len": 16, "seed": 3, "rows_per_batch": {"code": 1, "zh": 2}}
    reached = [ProportionalRows(store, **options).row(i).ids for i in range(80)]
    sought = ProportionalRows(store, **options)
    for index in (79, 0, 41):
        assert np.array_equal(sought.row(index).ids, reached[index])


@pytest.mark.parametrize(
    ("rows_per_batch", "message"),
    [
        ({"zhh": 1}, "rows_per_batch: zhh: 1"),
        ({"zh": -1}, "rows_per_batch: zh: -1"),
        ({"zh": 0}, "gives no batch"),
        ({"empty": 2}, "gives no batch"),
    ],
)
def test_wrong_numbers_are_named(make_store, rows_per_batch, message):
    store = make_store({**SOURCES, "empty": (1.0, [])})
    with pytest.raises(ConfigError) as caught:
        ProportionalRows(store, seq_len=8, seed=1, rows_per_batch=rows_per_batch)
    assert message in str(caught.value)


def test_the_rows_of_a_step_are_checked_before_training(tmp_path):
    schedule = {"micro_batch_size": 2, "gradient_accumulation_steps": 2}
    values = {"model": "m", "store": "s", "schedule": schedule}
    source = ConfigSource("recipe.yaml", tmp_path)
    validate(pretrain.Config, {**values, "source_rows": {"zh": 3, "en": 1}}, source=source)
    with pytest.raises(ConfigError, match="source_rows are 5 rows, but a step has 4"):
        validate(pretrain.Config, {**values, "source_rows": {"zh": 5}}, source=source)
