"""Runs a training stage in children that are killed: python kill_driver.py STAGE VALUES OUT SEED.

torch is imported once and the children are forked, with one thread each. Killed children and the
last one, which finishes, get the same work folder. Prints the steps at which it killed.
"""

import json
import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch
import transformers  # noqa: F401 - imported once, for all children

from hanlin.core.events import EventLog, read_events
from hanlin.core.stage import StageContext
from hanlin.pipeline.stages import STAGES
from hanlin.training import fit  # noqa: F401

PATIENCE_S = 120


def start(stage, values, out):
    """Fork a child that runs the stage; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        entry = STAGES.get(stage)
        context = StageContext(stage, out, 0, EventLog(out.with_suffix(".events.jsonl")))
        entry.run(entry.config.model_validate(values), context)
        code = 0
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(code)


def kill_when(child, reached, *, delay_s=0.0, may_end=False):
    """Wait until `reached()` and a little longer, then kill; fail if it ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended and status == 0 and may_end:
            return
        if ended or time.monotonic() > deadline:
            sys.exit(f"the child ended with {status} before it was killed")
        time.sleep(0.001)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and not may_end:
        sys.exit("the child was not killed")


def has_logged(log, start_byte, step):
    """Tell whether a child that was started at this byte of the log has come to a step."""
    if not log.exists():
        return False
    lines = log.read_bytes()[start_byte:].decode(errors="replace").splitlines()
    steps = [int(line.split('"step": ')[1].split(",")[0]) for line in lines if '"step"' in line]
    return max(steps, default=0) >= step


def main(stage, values, out, seed):
    torch.set_num_threads(1)
    draw, steps = random.Random(seed), values["schedule"]["steps"]
    log = out.with_suffix(".events.jsonl")
    for wanted in sorted(draw.sample(range(3, steps * 2 // 3), 3)):
        size = log.stat().st_size if log.exists() else 0
        child = start(stage, values, out)
        reached = partial(has_logged, log, size, wanted)
        kill_when(child, reached, delay_s=draw.uniform(0, 0.03))
    output = "adapter" if stage == "finetune" else "model"
    child = start(stage, values, out)
    kill_when(child, lambda: any(out.glob(f"{output}/*.safetensors")), may_end=True)
    _, status = os.waitpid(start(stage, values, out), 0)
    if status:
        sys.exit(status)
    steps = [event["step"] for event in read_events(log) if event["event"] == "metric"]
    sys.stdout.write(json.dumps(steps))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
