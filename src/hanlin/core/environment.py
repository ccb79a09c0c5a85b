"""What machine and versions a result was made with, and what memory a stage took."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hanlin import __version__

REPORTED_PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "safetensors", "sentencepiece", "tokenizers",
    "numpy", "gguf", "xllamacpp",
)  # fmt: skip

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
