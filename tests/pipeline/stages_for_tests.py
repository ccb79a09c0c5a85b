"""Stages that misbehave on purpose, put into the table by tests."""

from dataclasses import replace

from hanlin.core.stage import Estimate
from hanlin.data.sample_world import STAGE


def _raise(config, context):
    raise ZeroDivisionError("seven by nothing")


BROKEN = replace(STAGE, run=_raise)
CACHED = replace(STAGE, is_cacheable=True)
UNSIZED = replace(STAGE, estimate=lambda config: Estimate())
