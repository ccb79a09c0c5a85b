"""Run one stage in this process, or through torchrun in several, on one machine or on more.

`HANLIN_NODES` says on how many machines; docs/clusters.md has the examples.
"""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hanlin.core import environment
from hanlin.core.errors import ConfigError, StageFailedError
from hanlin.core.files import write_json
from hanlin.core.stage import StageContext
from hanlin.pipeline.plan import PlannedStage

WORKER = "hanlin.pipeline.worker"


def run_stage(item: PlannedStage, context: StageContext, *, note: Callable[[str], None]) -> int:
    """Run a stage's work and return its peak resident memory in bytes.

    Raises:
        StageFailedError: a stage of several processes ended with an error.
    """
    context = replace(context, note=note)
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
            "config": item.config.model_dump(mode="json", exclude_unset=True),
            "out": str(context.out),
            "seed": context.seed,
            "events": str(context.events.path),
        },
    )
    nodes = Nodes.of_environment()
    command = torchrun_command(specification, processes=processes, nodes=nodes)
    note(f"  {shlex.join(command)}")
    threads = max(1, environment.usable_cpus() * nodes.count // processes)
    _run_processes(command, item.id, threads=threads)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


@dataclass(frozen=True)
class Nodes:
    """The machines that a stage's processes are spread over.

    Attributes:
        count: how many.
        rendezvous: HOST:PORT of one of them, where all meet; "" on one machine.
        launcher: a command in front of torchrun that starts it on each machine; "" where it is
            pasted on the others by hand.
    """

    count: int = 1
    rendezvous: str = ""
    launcher: str = ""

    @classmethod
    def of_environment(cls) -> Nodes:
        """Read `HANLIN_NODES`, `HANLIN_RENDEZVOUS` and `HANLIN_LAUNCHER`.

        Raises:
            ConfigError: the number is none, or the meeting place is missing.
        """
        count = os.environ.get("HANLIN_NODES", "1")
        found = cls(
            int(count) if count.isdecimal() else 0,
            os.environ.get("HANLIN_RENDEZVOUS", ""),
            os.environ.get("HANLIN_LAUNCHER", ""),
        )
        if found.count < 1:
            raise ConfigError(f"HANLIN_NODES is {count!r}", fix="set it to the number of machines")
        if found.count > 1 and ":" not in found.rendezvous:
            raise ConfigError(
                f"HANLIN_NODES is {count}, but HANLIN_RENDEZVOUS is {found.rendezvous!r}",
                why="the machines need a place to meet",
                fix="set it to HOST:PORT of the first machine, such as node1:29500",
            )
        return found


def torchrun_command(
    specification: Path, *, processes: int, nodes: Nodes | None = None
) -> list[str]:
    """Return the command that runs a stage in several processes, the same on each machine.

    Raises:
        ConfigError: the machines cannot share the processes evenly.
    """
    nodes = nodes or Nodes()
    each, rest = divmod(processes, nodes.count)
    if rest:
        raise ConfigError(
            f"processes is {processes}, which {nodes.count} machines cannot share evenly",
            fix=f"set processes to a multiple of HANLIN_NODES ({nodes.count})",
        )
    meeting = ["--standalone"] if nodes.count == 1 else [
        "--nnodes", str(nodes.count), "--rdzv-backend", "c10d",
        "--rdzv-endpoint", nodes.rendezvous, "--rdzv-id", "hanlin",
    ]  # fmt: skip
    return [
        *shlex.split(nodes.launcher), sys.executable, "-m", "torch.distributed.run", *meeting,
        "--nproc-per-node", str(each), "--module", WORKER, str(specification),
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
