"""Stages that misbehave on purpose, put into the table by tests."""

from dataclasses import replace

from hanlin.core.stage import Estimate
from hanlin.data.sample_world import STAGE


def _raise(config, context):
    raise ZeroDivisionError("seven by nothing")


def _stop_in_mid_file(config, context):
    STAGE.run(config, context)
    (context.out / "heldout" / ".zh.jsonl.4711.part").write_text('{"text": "hal')
    (context.out / "corpus" / ".folder.4711.part").mkdir()
    raise KeyboardInterrupt


BROKEN = replace(STAGE, run=_raise)
CACHED = replace(STAGE, is_cacheable=True)
UNSIZED = replace(STAGE, estimate=lambda config: Estimate())
CUT = replace(STAGE, run=_stop_in_mid_file)
