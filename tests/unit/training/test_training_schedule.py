from itertools import pairwise

import pytest
from pydantic import ValidationError

from hanlin.core.errors import ConfigError
from hanlin.training.schedule import Schedule


def factors(steps, **settings):
    schedule = Schedule(steps=steps, **settings)
    return [schedule.factor(step, steps) for step in range(steps)]


def test_warm_up_rises_to_the_full_rate_and_never_starts_at_zero():
    assert factors(8, warmup_steps=3, scheduler="constant") == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


def test_cosine_falls_from_one_towards_the_minimum():
    values = factors(100, warmup_steps=0, min_learning_rate_ratio=0.1)
    assert values[0] == 1
    assert values[50] == pytest.approx(0.55)
    assert all(a > b for a, b in pairwise(values))
    assert 0.1 < values[-1] < 0.101


def test_linear_falls_in_equal_steps():
    values = factors(10, warmup_steps=0, scheduler="linear", min_learning_rate_ratio=0)
    assert values == pytest.approx([1 - step / 10 for step in range(10)])


def test_the_warm_up_is_three_per_cent_unless_it_is_set():
    assert Schedule(steps=200).warmup(200) == 6
    assert Schedule(steps=1).warmup(1) == 0
    assert Schedule(steps=200, warmup_steps=0).warmup(200) == 0


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, 13), ({"epochs": 2}, 25), ({"epochs": 0.5}, 7), ({"steps": 7}, 7)],
)
def test_steps_come_from_epochs_unless_they_are_set(settings, steps):
    schedule = Schedule(micro_batch_size=4, gradient_accumulation_steps=2, **settings)
    assert schedule.total_steps(rows_per_epoch=100) == steps


def test_checkpoints_and_probes_are_ten_in_a_run_unless_set():
    assert Schedule().save_steps(150) == 15
    assert Schedule().save_steps(100_000) == 500
    assert Schedule(save_every=7).save_steps(150) == 7
    assert Schedule().probe_steps(3) == 1
    assert Schedule(probe_every=9).probe_steps(150) == 9


def test_micro_batches_are_shared_between_processes():
    assert Schedule(gradient_accumulation_steps=6).accumulation_of(3) == 2
    with pytest.raises(ConfigError) as caught:
        Schedule(gradient_accumulation_steps=3).accumulation_of(2)
    assert "gradient_accumulation_steps 3" in str(caught.value)
    assert "multiple of 2" in str(caught.value)


def test_threads_are_shared_between_processes():
    assert Schedule(threads=5).threads_of(2) == 5
    assert Schedule().threads_of(10_000) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 5, "epochs": 1}, "steps and epochs are both set"),
        ({"steps": 5, "warmup_steps": 5}, "warmup_steps 5 is not below steps 5"),
        ({"betas": (0.9, 1.0)}, "betas must lie in"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"scheduler": "cosin"}, "'cosine', 'linear' or 'constant'"),
        ({"stepz": 5}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Schedule(**settings)


def test_a_warm_up_longer_than_the_epochs_is_refused():
    with pytest.raises(ConfigError) as caught:
        Schedule(epochs=1, warmup_steps=50).warmup(10)
    assert "warmup_steps 50 is not below the 10 steps" in str(caught.value)
    assert "fix: lower schedule.warmup_steps" in str(caught.value)
