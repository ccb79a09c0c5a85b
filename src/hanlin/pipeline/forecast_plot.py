"""A picture of forecasts: memory by term beside what each card can hold."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from hanlin.core.extras import require
from hanlin.core.files import write_atomic
from hanlin.models.cards import GIB
from hanlin.pipeline.forecast import Forecast

BAR_INCHES, LEAST_INCHES = 0.42, 2.6


def plot_memory(forecasts: Sequence[Forecast], path: Path) -> None:
    """Write a PNG: a bar for each card and job, its terms stacked, the card's memory as a mark.

    Raises:
        MissingExtraError: matplotlib is missing.
        ResourceError: the file cannot be written.
    """
    require("matplotlib", extra="plot", purpose="drawing a plan")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = max(LEAST_INCHES, BAR_INCHES * len(forecasts) + 1.4)
    figure = Figure(figsize=(9, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    labels = [f"{item.job.name}, {item.fleet.card.title}" for item in forecasts]
    start = [0.0] * len(forecasts)
    terms = [name for name in forecasts[0].memory.as_dict() if name != "total"]
    for term in terms:
        sizes = [item.memory.as_dict()[term] / GIB for item in forecasts]
        if any(sizes):
            axes.barh(labels, sizes, left=start, label=term.replace("_", " "))
            start = [a + b for a, b in zip(start, sizes, strict=True)]
    limits = [item.fleet.card.usable_bytes / GIB for item in forecasts]
    axes.scatter(limits, labels, marker="|", s=300, color="black", zorder=3, label="card")
    axes.invert_yaxis()
    axes.set_xlabel("GiB at the peak, each card")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    write_atomic(path, picture.getvalue())
