"""Run one stage in this process, or in several of them through torchrun."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hanlin.core import environment
from hanlin.core.errors import StageFailedError
from hanlin.core.files import write_json
from hanlin.core.stage import StageContext
from hanlin.pipeline.plan import PlannedStage

WORKER = "hanlin.pipeline.worker"


def run_stage(item: PlannedStage, context: StageContext, *, note: Callable[[str], None]) -> int:
    """Run a stage's work and return its peak resident memory in bytes.

    Raises:
        StageFailedError: a stage of several processes ended with an error.
    """
    processes = getattr(item.config, "processes", 1)
    if processes <= 1 or "RANK" in os.environ:
        item.stage.run(item.config, context)
        return environment.peak_memory_bytes()
    specification = context.out / ".worker.json"
    write_json(
        specification,
        {
            "stage": item.kind,
            "name": context.name,
            "config": item.config.model_dump(mode="json"),
            "out": str(context.out),
            "seed": context.seed,
            "events": str(context.events.path),
        },
    )
    command = torchrun_command(specification, processes=processes)
    note(f"  {shlex.join(command)}")
    _run_processes(command, item.id, threads=max(1, environment.usable_cpus() // processes))
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def torchrun_command(specification: Path, *, processes: int) -> list[str]:
    """Return the command that runs a stage in several processes of this machine.

    It can be pasted into a job script; on many nodes, replace `--standalone` by torchrun's
    `--nnodes`, `--node-rank` and `--rdzv-endpoint`.
    """
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(processes), "--module", WORKER, str(specification),
    ]  # fmt: skip


def _run_processes(command: list[str], stage: str, *, threads: int) -> None:
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        env={"OMP_NUM_THREADS": str(threads), **os.environ},
        stdout=sys.stderr,
    ) as process:
        try:
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    if code:
        raise StageFailedError(
            f"stage {stage!r} failed in one of its processes (exit code {code})",
            why="the message of the process that failed stands above",
            fix="mend the cause, then repeat the same command: the stage goes on",
        )
