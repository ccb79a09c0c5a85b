"""How long does each recipe's rehearsal take, and does it reach its report card?

    python benchmarks/recipes.py [NAME...]

Runs `hanlin run NAME --tiny` for all recipes but the quickstart (or those that are named), each in
a process and a folder of its own, without cache and offline. Results of others are kept. Times are
those of the clock and of all processors together: on a busy machine the second is the fairer one.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hanlin.core import environment
from hanlin.core.files import read_json, write_json
from hanlin.pipeline.recipe import builtin_recipes

RESULT = Path(__file__).parent / "results" / "recipes.json"
LIMIT_SECONDS = 360


def rehearse(name: str, folder: Path) -> dict[str, Any]:
    """Run one recipe and return what it took."""
    out = folder / name
    command = [sys.executable, "-m", "hanlin", "run", name, "--tiny", "--out", str(out), "--json"]
    started, used = time.perf_counter(), _processor_seconds()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1"},
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    records = [read_json(path) for path in sorted(out.glob("*/stage.json"))]
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(_processor_seconds() - used, 1),
        "stages": len(records),
        "peak_bytes": max(record["peak_bytes"] for record in records),
        "report_card": (out / "report.html").is_file() and bool(json.loads(done.stdout)),
    }


def is_slow(row: dict[str, Any]) -> bool:
    """Tell whether a rehearsal takes too long on two cores, even if it had them for itself."""
    return row["seconds"] > LIMIT_SECONDS and row["processor_seconds"] > 2 * LIMIT_SECONDS


def _processor_seconds() -> float:
    """Return what finished child processes used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run and write the result."""
    names = sys.argv[1:] or [name for name in builtin_recipes() if name != "quickstart"]
    found = read_json(RESULT)["recipes"] if RESULT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            found[name] = rehearse(name, Path(folder))
            print(name, found[name])
    found = {name: found[name] for name in sorted(found)}
    write_json(RESULT, {"machine": environment.describe(), "recipes": found})
    slow = [name for name in names if is_slow(found[name])]
    if slow:
        raise SystemExit(f"longer than {LIMIT_SECONDS} s: {', '.join(slow)}")


if __name__ == "__main__":
    main()
