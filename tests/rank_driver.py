"""Runs stages in one or more processes, some of them killed: python rank_driver.py JOBS.json

Everything is imported once and the ranks are forked with the variables that torchrun sets, one
thread each. A job is {stage, values, out, ranks, kill_at: [steps], stop_at: step | null, kill_with:
output | null}: killed with SIGKILL in the middle of a step after each of `kill_at`, and while it
writes the output `kill_with`, then run to its end; with `stop_at` it is killed there and left.
Prints for each job the steps in its log.
"""

import gc
import json
import os
import random
import signal
import socket
import sys
import time
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

os.environ |= {"DS_ACCELERATOR": "cpu", "TOKENIZERS_PARALLELISM": "false"}  # before any import

import torch
import transformers  # noqa: F401 - imported once, for all ranks

from hanlin.core.errors import HanlinError
from hanlin.core.events import EventLog, read_events
from hanlin.core.stage import StageContext
from hanlin.models.load import load_pair
from hanlin.pipeline.stages import STAGES
from hanlin.training import fit  # noqa: F401

PATIENCE_S = 240


def warm(jobs):
    """Import what the ranks will, and load their model: transformers compiles a thousand patterns.

    A rank that is forked from here has that behind it, most of the time that it would take.
    """
    for job in jobs:
        STAGES.get(job["stage"])
    for package in ("deepspeed", "peft"):
        if find_spec(package):
            import_module(package)
    load_pair(jobs[0]["values"]["model"])
    gc.freeze()  # what is there already is looked through by no rank


def start(job, port):
    """Fork the ranks of a job; return their process ids."""
    return [_fork(job, rank, port) for rank in range(job["ranks"])]


def _fork(job, rank, port):
    child = os.fork()
    if child:
        return child
    code, ranks, out = 1, job["ranks"], Path(job["out"])
    try:
        if ranks > 1:
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks),
                "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }  # fmt: skip
        entry = STAGES.get(job["stage"])
        context = StageContext(job["stage"], out, 0, EventLog(log_of(job)))
        entry.run(entry.config.model_validate(job["values"]), context)
        code = 0
    except HanlinError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        code = error.exit_code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def log_of(job):
    """Return where a job's events go."""
    return Path(job["out"]).with_suffix(".events.jsonl")


def has_logged(log, start_byte, step):
    """Tell whether ranks that were started at this byte of the log have come to a step."""
    lines = log.read_bytes()[start_byte:].decode(errors="replace").splitlines()
    steps = [int(line.split('"step": ')[1].split(",")[0]) for line in lines if '"metric"' in line]
    return max(steps, default=0) >= step


def has_written(job):
    """Tell whether the output with which a job is killed is there, or a part of it."""
    return any(Path(job["out"]).glob(f"{job['kill_with']}/*.safetensors"))


def kill_when(job, children, reached, draw, *, may_end=False):
    """Kill all ranks, in any order, once something is reached."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended and status == 0 and may_end:
            return
        if ended or time.monotonic() > deadline:
            for child in set(children) - {ended}:
                os.kill(child, signal.SIGKILL)
            sys.exit(f"{job['out']}: a rank ended with {status} before it was killed")
        time.sleep(0.002)
    time.sleep(0 if may_end else draw.uniform(0, 0.03))
    for child in draw.sample(children, len(children)):
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)


def free_port():
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(job):
    """Do one job; return the exit codes of the last ranks, and the steps of its log."""
    draw, log = random.Random(str(job["out"]).rpartition("/")[2]), log_of(job)
    Path(job["out"]).mkdir(parents=True, exist_ok=True)
    stop_at = [job["stop_at"]] if job.get("stop_at") else []
    for step in [*job.get("kill_at", ()), *stop_at]:
        log.touch()
        size = log.stat().st_size
        kill_when(job, start(job, free_port()), partial(has_logged, log, size, step), draw)
    if job.get("kill_with"):
        written = partial(has_written, job)
        kill_when(job, start(job, free_port()), written, draw, may_end=True)
    codes = []
    if not stop_at:
        codes = [os.waitpid(c, 0)[1] for c in start(job, free_port())]
    steps = [event["step"] for event in read_events(log) if event["event"] == "metric"]
    return {"codes": [os.waitstatus_to_exitcode(code) for code in codes], "steps": steps}


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = json.loads(Path(sys.argv[1]).read_text())
    warm(jobs)
    sys.stdout.write(json.dumps({job["out"]: run(job) for job in jobs}))
