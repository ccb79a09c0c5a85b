"""Processes give what one process gives, in order; a death among them is explained."""

import os
from functools import partial

import pytest

from hanlin.core.errors import ResourceError
from hanlin.data.in_order import Workers

POWER = partial(partial, pow)  # of settings: a function that raises them to the power of an item


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_the_order_of_the_items(count):
    with Workers(count, make=POWER, settings=2) as workers:
        assert list(workers.map(range(20))) == [2**n for n in range(20)]
        assert list(workers.map([])) == []


def test_items_are_read_only_as_far_as_they_are_needed():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    with Workers(2, make=POWER, settings=2) as workers:
        results = workers.map(items())
        assert [next(results) for _ in range(3)] == [1, 2, 4]
    assert len(taken) < 20


def test_a_process_that_dies_is_explained():
    with (
        pytest.raises(ResourceError, match="one of 2 worker processes ended suddenly") as caught,
        Workers(2, make=os._exit, settings=3) as workers,
    ):
        list(workers.map(range(20)))
    assert "fewer workers (workers: 1); what is done is kept" in caught.value.fix


def test_an_error_in_a_process_is_the_error():
    with pytest.raises(TypeError), Workers(2, make=POWER, settings=2) as workers:
        list(workers.map([1, "a"]))
