"""Which models did the finished stages of a run leave?"""

from __future__ import annotations

from pathlib import Path

from hanlin.core.files import read_json


def models_of_run(run_dir: Path) -> list[Path]:
    """Return the models that the finished stages left, in the order of the recipe.

    Raises:
        InputError: a record of a stage cannot be read.
    """
    order: list[str] = []
    if (run_dir / "run.json").is_file():
        order = [stage["id"] for stage in read_json(run_dir / "run.json")["stages"]]
    records = {file.parent.name: file for file in sorted(run_dir.glob("*/stage.json"))}
    stages = [name for name in records if name not in order] + [i for i in order if i in records]
    return [
        run_dir / stage / output["path"]
        for stage in stages
        for output in read_json(records[stage])["outputs"]
        if output["kind"] == "model" and (run_dir / stage / output["path"] / "config.json").exists()
    ]


def last_model(path: Path) -> Path:
    """Return the last model of a run directory; every other file or folder as it is."""
    if not path.is_dir() or (path / "config.json").is_file():
        return path
    return next(reversed(models_of_run(path)), path)
