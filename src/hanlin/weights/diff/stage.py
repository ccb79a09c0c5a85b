"""Stage `diff`: what has to be published so that others make the tuned model from their base?

hanlin weights diff BASE TUNED OUT
"""

from __future__ import annotations

from pathlib import Path

from hanlin.core.config import ModelPath
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.models.info import read_info
from hanlin.weights.diff.manifest import Compression


class Config(StageConfig):
    """Settings of `diff`."""

    base: ModelPath
    """The model that others have: a folder or a hub id."""
    tuned: ModelPath
    """What became of it: a folder or a hub id."""
    compression: Compression = "zstd"
    """Of the stored differences: "zstd" or "none"."""


def run(config: Config, context: StageContext) -> None:
    """Write `diff`; after a kill, go on where it stopped."""
    from hanlin.weights.diff.diff import make_diff

    report = make_diff(
        config.base,
        config.tuned,
        context.out / "diff",
        compression=config.compression,
        force=True,
        progress=context.progress,
    )
    context.events.emit("metric", stage=context.name, **report.to_json())


def estimate(config: Config) -> Estimate:
    """Expect at most the bytes of the tuned model."""
    folder = Path(config.tuned)
    is_known = (folder / "config.json").is_file()
    return Estimate(disk_bytes=read_info(folder).weight_bytes if is_known else None)


STAGE = Stage(
    summary="Store what makes a tuned model from its base, bit by bit.",
    config=Config,
    run=run,
    outputs={"diff": ("weight-diff", "diff")},
    estimate=estimate,
)
