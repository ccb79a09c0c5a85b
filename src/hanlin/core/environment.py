"""What machine and versions a result was made with, what cards it has, what memory a stage took."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hanlin import __version__

REPORTED_PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "safetensors", "sentencepiece", "tokenizers",
    "numpy", "gguf", "xllamacpp",
)  # fmt: skip

SMI_SECONDS = 10.0
CONTAINER_LIMITS = (  # of control groups, version 2 and 1
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def describe() -> dict[str, str]:
    """Return versions and hardware, without importing any of the packages."""
    facts = {
        "hanlin": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": str(usable_cpus()),
        "memory_gb": f"{total_memory_bytes() / 1e9:.1f}",
    }
    for package in REPORTED_PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


@dataclass(frozen=True)
class Gpu:
    """A graphics card as its driver describes it."""

    name: str
    memory_bytes: int
    free_bytes: int
    driver: str
    capability: str


def gpus() -> list[Gpu]:
    """Return the NVIDIA cards that may be used, without importing torch; none without a driver."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return []
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    fields = "name,memory.total,memory.free,driver_version,compute_cap"
    call = [command, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(  # noqa: S603 - the driver's own tool
            call, capture_output=True, text=True, timeout=SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):  # a driver that does not work is none
        return []
    found = []
    for line in done.stdout.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == len(fields.split(",")) and parts[1].isdigit() and parts[2].isdigit():
            total, free = int(parts[1]) << 20, int(parts[2]) << 20
            found.append(Gpu(parts[0], total, free, parts[3], parts[4]))
    return found


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory_bytes() -> int:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_memory_bytes() -> int:
    """Return how much memory a process can take now, within a container's limit if there is one."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    info = Path("/proc/meminfo")
    if info.exists():  # the page cache counts as free: it makes room
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    for folder, limit, used in CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or no limit ("max")
            free = min(free, _container_room(Path(folder), limit, used))
    return free


def _container_room(folder: Path, limit: str, used: str) -> int:
    cache = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
    taken = int((folder / used).read_text()) - (int(cache[1]) if cache else 0)
    return int((folder / limit).read_text()) - taken


def reset_peak_memory() -> None:
    """Start a new peak (Linux only; elsewhere the peak is that of the whole process)."""
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:  # some containers forbid it: then the peak covers the whole process
            return


def peak_memory_bytes() -> int:
    """Return the peak resident memory since the last reset."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
