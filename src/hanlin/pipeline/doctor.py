"""Is this machine ready, and what is to be mended? Facts and traps, without secrets or paths.

hanlin doctor
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from hanlin.core import environment, network

Status = Literal["ok", "note", "warning", "failure"]
PROBE_SECONDS = 60.0
LEAST_DISK_GB, LEAST_MEMORY_GB, LEAST_SHARED_GB = 20, 6, 1
LEAST_FILES = 1024
TORCH = """
import json, torch
found = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip,
         "available": torch.cuda.is_available(), "threads": torch.get_num_threads()}
if found["available"]:
    a = torch.ones(64, 64, device="cuda")
    found["sum"] = float((a @ a).sum())
print(json.dumps(found))
"""
BITSANDBYTES = """
import json, torch, bitsandbytes
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
device = "cuda" if torch.cuda.is_available() else "cpu"
a = torch.linspace(-1, 1, 4096, device=device).reshape(64, 64)
b = dequantize_4bit(*quantize_4bit(a, quant_type="nf4"))
print(json.dumps({"version": bitsandbytes.__version__, "device": device,
                  "error": float((a - b).abs().max())}))
"""
FLASH = "import json, flash_attn; print(json.dumps({'version': flash_attn.__version__}))"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what.
        status: "ok"; "note": nothing is wrong, but good to know; "warning": something will be slow
            or may fail; "failure": something is broken.
        text: what was found.
        mend: what to type or change; empty where there is nothing to mend.
    """

    topic: str
    status: Status
    text: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return plain values."""
        return asdict(self)


def examine(*, is_offline: bool = False) -> list[Finding]:
    """Look at the machine; takes some seconds, most of them to import torch in a process apart.

    Args:
        is_offline: do not reach out to the hub.
    """
    cards = environment.gpus()
    looks: list[Callable[[], list[Finding]]] = [
        lambda: list(_machine()),
        lambda: list(_packages()),
        lambda: list(card_findings(cards)),
        lambda: [torch_finding(cards)],
        lambda: [_bitsandbytes()],
        lambda: [_flash_attention()],
        lambda: list(hub_findings(is_offline)),
        lambda: list(_disk()),
        lambda: list(traps()),
    ]
    with ThreadPoolExecutor(len(looks)) as pool:
        return [finding for found in pool.map(lambda look: look(), looks) for finding in found]


def _machine() -> Iterator[Finding]:
    facts = environment.describe()
    memory_gb = environment.available_memory_bytes() / 1e9
    yield Finding("hanlin", "ok", f"{facts['hanlin']}, Python {facts['python']}")
    yield Finding(
        "machine", "ok", f"{facts['system']}, {facts['processor']}, {facts['cpus']} usable CPUs"
    )
    text = f"{facts['memory_gb']} GB, {memory_gb:.1f} GB free for a process"
    if memory_gb < LEAST_MEMORY_GB:
        yield Finding("memory", "warning", text, "the quickstart takes about 2 GB: close programs")
    else:
        yield Finding("memory", "ok", text)


def _packages() -> Iterator[Finding]:
    names = environment.REPORTED_PACKAGES
    found = [f"{name} {_version(name)}" for name in names if _version(name)]
    yield Finding("packages", "ok", ", ".join(found) or "none of those that train and evaluate")
    for extra, wanted in _extras().items():
        missing = [name for name in wanted if not _version(name)]
        if not missing:
            yield Finding(f"extra {extra}", "ok", "installed")
        else:
            mend = f'pip install "hanlin[{extra}]"'
            yield Finding(f"extra {extra}", "note", f"missing: {', '.join(missing)}", mend)


def _extras() -> dict[str, list[str]]:
    """Return the packages of each extra, from the installed package's own metadata."""
    extras: dict[str, list[str]] = {}
    try:
        lines = requires("hanlin") or []
    except PackageNotFoundError:
        return {}
    for line in lines:
        marked = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if marked and name and marked[1] != "dev":
            extras.setdefault(marked[1], []).append(name[0])
    return extras


def card_findings(cards: list[environment.Gpu]) -> Iterator[Finding]:
    """Describe the cards: memory, what holds it, which types they multiply."""
    if not cards:
        yield Finding("cards", "note", "no NVIDIA card: everything runs on the processor")
    for card in cards:
        text = (
            f"{card.name}, {card.memory_bytes / 2**30:.1f} GiB ({card.free_bytes / 2**30:.1f} "
            f"free), driver {card.driver}, compute capability {card.capability}"
        )
        is_busy = card.free_bytes < 0.8 * card.memory_bytes
        mend = "another program holds its memory: nvidia-smi shows which" if is_busy else ""
        yield Finding("cards", "warning" if is_busy else "ok", text, mend)
        if card.capability and float(card.capability) < 8:
            yield Finding(
                "cards", "note", f"{card.name} has no bf16: training takes fp16 by itself"
            )


def torch_finding(cards: list[environment.Gpu]) -> Finding:
    """Tell whether torch can be imported, and uses the cards that are there."""
    if not _version("torch"):
        return Finding("torch", "note", "not installed", 'pip install "hanlin[train]"')
    found, trouble = probe(TORCH)
    if trouble:
        mend = "install torch again from https://pytorch.org/get-started/locally"
        return Finding("torch", "failure", f"cannot be imported: {trouble}", mend)
    built = f"CUDA {found['cuda']}" if found["cuda"] else "the processor alone"
    text = f"{found['version']}, built for {built}, {found['threads']} threads"
    if cards and not found["available"]:
        return Finding(
            "torch",
            "failure",
            f"{text}; the card cannot be used",
            "install a build for CUDA that the driver knows: "
            "https://pytorch.org/get-started/locally",
        )
    return Finding("torch", "ok", text + ("; the card multiplies" if found["available"] else ""))


def _bitsandbytes() -> Finding:
    if not _version("bitsandbytes"):
        text = "not installed: needed for 8- and 4-bit bases (methods int8 and qlora)"
        return Finding("bitsandbytes", "note", text, 'pip install "hanlin[quantize]"')
    found, trouble = probe(BITSANDBYTES)
    if trouble:
        return Finding(
            "bitsandbytes",
            "failure",
            f"does not work: {trouble}",
            'pip install -U "hanlin[quantize]"; its CUDA libraries must fit to torch\'s '
            "(python -m bitsandbytes says more)",
        )
    return Finding("bitsandbytes", "ok", f"{found['version']}, 4 bits work on {found['device']}")


def _flash_attention() -> Finding:
    if not _version("flash-attn"):
        text = "not installed, and not needed: torch's own attention is used"
        return Finding("flash attention", "ok", text)
    found, trouble = probe(FLASH)
    if trouble:
        mend = "pip uninstall flash-attn: nothing needs it"
        return Finding("flash attention", "warning", f"cannot be imported: {trouble}", mend)
    return Finding("flash attention", "ok", str(found["version"]))


def hub_findings(is_offline: bool) -> Iterator[Finding]:
    """Tell whether the hub answers, and which mirrors do."""
    if is_offline or network.is_offline():
        yield Finding("hub", "note", "not asked: offline (HF_HUB_OFFLINE or --offline)")
        return
    own = network.hub_address()
    addresses = {"hub": own, **network.MIRRORS}
    with ThreadPoolExecutor(len(addresses)) as pool:
        reasons = dict(zip(addresses, pool.map(network.why_unreachable, addresses.values()),
                           strict=True))  # fmt: skip
    mirrors = [name for name in network.MIRRORS if not reasons[name]]
    if not reasons["hub"]:
        yield Finding("hub", "ok", f"{_host(own)} answers")
    elif mirrors:
        mend = (
            "export HF_ENDPOINT=https://hf-mirror.com, or hanlin weights download --from modelscope"
        )
        yield Finding("hub", "warning", f"{_host(own)} does not answer: {reasons['hub']}", mend)
    else:
        mend = "check the network or HTTPS_PROXY; local folders need no hub"
        yield Finding("hub", "warning", f"neither it nor a mirror answers: {reasons['hub']}", mend)
    yield Finding("mirrors", "ok", f"answer: {', '.join(mirrors) or 'none'}")


def _host(address: str) -> str:
    """Return the server's name alone: an address may hold a password."""
    return address.partition("://")[2].rpartition("@")[2].partition("/")[0]


def _disk() -> Iterator[Finding]:
    places = {"current folder": Path.cwd(), "hub's cache": network.cache_folder()}
    for name, folder in places.items():
        existing = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
        free = shutil.disk_usage(existing).free / 1e9
        if not os.access(existing, os.W_OK):
            mend = (
                "give --out elsewhere" if "current" in name else "set HF_HOME to a folder of yours"
            )
            yield Finding("disk", "warning", f"{name}: cannot be written", mend)
        elif free < LEAST_DISK_GB:
            mend = "a 7B model takes 13.5 GB and its merged copy as much: free some space"
            yield Finding("disk", "warning", f"{name}: {free:.1f} GB free", mend)
        else:
            yield Finding("disk", "ok", f"{name}: {free:.1f} GB free")


def traps() -> Iterator[Finding]:
    """Look for settings of the machine that often cost an afternoon."""
    if sys.getfilesystemencoding().lower().replace("-", "") != "utf8":
        mend = "export PYTHONUTF8=1 (or LANG=C.UTF-8)"
        yield Finding("encoding", "warning", "file names and output are not UTF-8", mend)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < LEAST_FILES:
        yield Finding("open files", "warning", f"at most {soft}", f"ulimit -n {4 * LEAST_FILES}")
    shared = Path("/dev/shm")  # noqa: S108 - looked at, not written to
    if shared.exists() and shutil.disk_usage(shared).total < LEAST_SHARED_GB * 1e9:
        size = shutil.disk_usage(shared).total / 1e6
        mend = "docker run --shm-size=8g: several processes on cards talk through it"
        yield Finding("shared memory", "warning", f"{size:.0f} MB", mend)
    proxied = any(os.environ.get(name) for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"))
    beside = os.environ.get("NO_PROXY", "") + os.environ.get("no_proxy", "")
    if proxied and not re.search(r"localhost|127\.0\.0\.1|\*", beside):
        mend = "export NO_PROXY=localhost,127.0.0.1"
        yield Finding("proxy", "warning", "a proxy is set for local servers, too", mend)
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        mend = "unset CUDA_VISIBLE_DEVICES"
        yield Finding("cards", "note", "CUDA_VISIBLE_DEVICES hides all cards", mend)
    if _version("opencc") and _version("opencc-python-reimplemented"):
        mend = "pip uninstall opencc-python-reimplemented"
        yield Finding("opencc", "warning", "two packages share this module's name", mend)


def probe(code: str) -> tuple[dict[str, Any], str]:
    """Run code in a process apart, which may crash; return what it printed, and the trouble."""
    call = [sys.executable, "-c", code]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and code
            call, capture_output=True, text=True, timeout=PROBE_SECONDS
        )
        if done.returncode == 0:
            return dict(json.loads(done.stdout.splitlines()[-1])), ""
    except subprocess.TimeoutExpired:
        return {}, f"no answer within {PROBE_SECONDS:.0f} s"
    except (OSError, ValueError, IndexError) as error:
        return {}, type(error).__name__
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return {}, without_paths(lines[-1]) if lines else f"exit code {done.returncode}"


def without_paths(text: str) -> str:
    """Return a message without the folders of this machine."""
    return re.sub(r"(?:/[\w.+@-]+)+/([\w.+@-]+)", r".../\1", text)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
