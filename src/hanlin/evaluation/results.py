"""What does the result file of `hanlin eval run` hold, and how is it read again?

version, models and rows are those of scores.json (a stage's scores can be read as well); settings,
measures, details and records stand behind them, each under the benchmark's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import read_json
from hanlin.evaluation.benchmark import BenchmarkConfig, BenchmarkResult
from hanlin.evaluation.run import score_rows


def result_file(
    name: str, results: Sequence[tuple[BenchmarkConfig, BenchmarkResult]]
) -> dict[str, Any]:
    """Return what is written about one model.

    Args:
        name: what the model is called.
        results: each benchmark's config and what it found.
    """
    return {
        "version": 1,
        "models": [name],
        "rows": [row for config, result in results for row in score_rows(config, {name: result})],
        "settings": _settings(results[0][0]),
        "measures": {config.id: _measures(result) for config, result in results},
        "details": {config.id: result.details for config, result in results},
        "records": [{**r, "benchmark": c.id} for c, result in results for r in result.records],
    }


def read_results(file: Path) -> dict[str, Any]:
    """Return a result file, or scores.json of a run.

    Raises:
        InputError: it holds no scores.
    """
    content = read_json(file)
    if not isinstance(content, dict) or not {"models", "rows"} <= content.keys():
        raise InputError(
            f"{file} holds no scores",
            why="it has no models and rows",
            fix="give the --out file of hanlin eval run, or scores.json of a run",
        )
    return content


def _measures(result: BenchmarkResult) -> dict[str, Any]:
    return {m.metric: {**asdict(m.estimate), "chance": m.chance} for m in result.measures}


def _settings(config: BenchmarkConfig) -> dict[str, Any]:
    settings = config.model_dump(mode="json", exclude_none=True)
    return {**settings, "data": Path(config.data).name}
