"""What machine and versions a result was made with, and what memory a stage took."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hanlin import __version__

REPORTED_PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "safetensors", "sentencepiece", "tokenizers",
    "numpy", "gguf", "xllamacpp",
)  # fmt: skip


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
