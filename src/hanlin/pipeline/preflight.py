"""What would stop a run after hours? Looked for in a second, before the first stage starts.

`hanlin run --no-preflight` runs all the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hanlin.core import environment, network
from hanlin.core.config import ModelPath, input_paths
from hanlin.core.errors import HanlinError, InputError, MissingExtraError, ResourceError
from hanlin.models.cards import GIB
from hanlin.models.memory import training_memory
from hanlin.pipeline.forecast import Job, disk_bytes
from hanlin.pipeline.launch import Nodes
from hanlin.pipeline.plan import PlannedStage
from hanlin.pipeline.recipe import Recipe
from hanlin.pipeline.recipe_jobs import jobs_of

TRAIN = [("torch", "train"), ("transformers", "train"), ("peft", "train")]
NEEDED = {  # kind of stage -> modules and the extras that have them
    "base": [*TRAIN, ("sentencepiece", "train")],
    "pretrain": TRAIN,
    "finetune": TRAIN,
    "dpo": [*TRAIN, ("trl", "dpo"), ("datasets", "dpo")],
    "merge": TRAIN[:2],
    "evaluate": TRAIN[:2],
    "export": [("gguf", "cpu")],
}
OVERRIDE = "or run all the same with --no-preflight"


@dataclass(frozen=True)
class Objection:
    """One reason why a run would fail later."""

    what: str
    fix: str
    error: type[HanlinError]


def check_inputs(recipe: Recipe) -> None:
    """Refuse a recipe some of whose inputs are not there, and name all of them.

    Raises:
        InputError: with what each is and how to give it.
    """
    folder = recipe.source.folder
    missing = [name for name, item in recipe.inputs.items() if not item.is_in(folder)]
    if not missing:
        return
    lines = [f"  inputs.{name}: {recipe.inputs[name].path} ({recipe.inputs[name].about})"
             for name in missing]  # fmt: skip
    options = " ".join(f"--set inputs.{name}=PATH" for name in missing)
    raise InputError(
        f"the recipe {recipe.name!r} needs {len(missing)} inputs that are not there:\n"
        + "\n".join(lines),
        why="a recipe's inputs are what its user supplies; paths are meant from "
        "the recipe's folder, those of a built-in recipe from the current one",
        fix=f"hanlin run {recipe.name} {options}, or rehearse it with --tiny",
    )


def preflight(recipe: Recipe, plan: Sequence[PlannedStage], run_dir: Path) -> None:
    """Look for what would stop the stages that are going to run.

    Raises:
        HanlinError: of the first objection's kind; its text holds all of them.
    """
    found = objections(recipe, plan, run_dir)
    if not found:
        return
    raise found[0].error(
        "this run would not get to its end:\n" + "\n".join(f"  - {item.what}" for item in found),
        fix="; ".join(dict.fromkeys([*(item.fix for item in found), OVERRIDE])),
    )


def objections(recipe: Recipe, plan: Sequence[PlannedStage], run_dir: Path) -> list[Objection]:
    """Return every reason found, the gravest first."""
    todo = [item for item in plan if item.action == "run"]
    jobs = jobs_of(recipe, only=[item.id for item in todo])
    return [
        *_unwritable(run_dir),
        *_missing_modules(todo),
        *_no_memory(jobs, {item.id: item.config for item in todo}),
        *_no_disk(jobs, run_dir),
        *_no_hub(todo),
    ]


def _unwritable(run_dir: Path) -> list[Objection]:
    existing = _existing(run_dir)
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return []
    what = f"{run_dir} cannot be written" + ("" if existing.is_dir() else f": {existing} is a file")
    return [Objection(what, "give --out in a folder that is yours", ResourceError)]


def _missing_modules(todo: Sequence[PlannedStage]) -> list[Objection]:
    missing: dict[str, str] = {}
    for item in todo:
        for module, extra in _modules(item):
            if find_spec(module) is None:
                missing[module] = extra
    if not missing:
        return []
    extras = ",".join(sorted(set(missing.values())))
    what = f"packages are missing: {', '.join(sorted(missing))}"
    return [Objection(what, f'pip install "hanlin[{extras}]"', MissingExtraError)]


def _modules(item: PlannedStage) -> list[tuple[str, str]]:
    config: Any = item.config
    modules = list(NEEDED.get(item.kind, []))
    if getattr(config, "method", None) in ("int8", "qlora"):
        modules.append(("bitsandbytes", "quantize"))
    if hasattr(config, "sharding") and config.sharding.zero:
        modules.append(("deepspeed", "cluster"))
    if item.kind == "export" and config.check:
        modules.append(("xllamacpp", "cpu"))
    return modules


def _no_memory(jobs: Sequence[Job], configs: Mapping[str, Any]) -> list[Objection]:
    cards = environment.gpus()
    have = max((card.memory_bytes for card in cards), default=0)
    have = have or environment.available_memory_bytes()
    found = []
    for job in jobs:
        needed, who = _needed_bytes(job, configs[job.name], has_cards=bool(cards))
        if needed > have:
            where = "its card" if cards else "this machine, which has no card,"
            found.append(
                Objection(
                    f"stage {job.name!r} needs about {needed / GIB:.1f} GiB of memory{who}, "
                    f"{where} has {have / GIB:.1f} GiB",
                    "`hanlin plan` with the same recipe says what would make it fit",
                    ResourceError,
                )
            )
    return found


def _needed_bytes(job: Job, config: Any, *, has_cards: bool) -> tuple[int, str]:  # noqa: ANN401
    """Return the bytes of one process on its card, or of all processes that share this machine."""
    if has_cards:
        training = replace(job.training, on_gpu=True)
        return training_memory(job.info, training).total, ""
    training = replace(  # FSDP shares nothing here, and there is no other memory to move things to
        job.training, on_gpu=False, zero_stage=config.sharding.zero, on_host="none"
    )
    if training.precision == "bf16":
        training = replace(training, precision="fp32")
    processes = max(1, training.processes // Nodes.of_environment().count)
    who = f" for {processes} processes" if processes > 1 else ""
    return processes * training_memory(job.info, training).total, who


def _no_disk(jobs: Sequence[Job], run_dir: Path) -> list[Objection]:
    needed = sum(disk_bytes(job) for job in jobs)
    free = shutil.disk_usage(_existing(run_dir)).free
    if needed <= free:
        return []
    what = f"about {needed / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} GB are free"
    return [Objection(what, "give --out on a larger disk", ResourceError)]


def _no_hub(todo: Sequence[PlannedStage]) -> list[Objection]:
    wanted = sorted(
        {
            str(path)
            for item in todo
            for path in input_paths(item.config)
            if path.is_hub_id
            and not network.is_cached(
                path, kind="models" if isinstance(path, ModelPath) else "datasets"
            )
        }
    )
    if not wanted:
        return []
    names = ", ".join(wanted)
    if network.is_offline():
        return [
            Objection(
                f"{names} must be fetched, but HF_HUB_OFFLINE forbids it",
                "unset HF_HUB_OFFLINE, or give local folders",
                InputError,
            )
        ]
    reason = network.why_unreachable(network.hub_address())
    if not reason:
        return []
    return [
        Objection(
            f"{names} must be fetched, but {network.hub_address()} does not answer ({reason})",
            "set HF_ENDPOINT=https://hf-mirror.com, or give local folders",
            InputError,
        )
    ]


def _existing(path: Path) -> Path:
    return next(p for p in (path.resolve(), *path.resolve().parents) if p.exists())
