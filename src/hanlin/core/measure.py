"""What is a number of a report? The benchmark it comes from and what it measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One benchmark in one language.

    Attributes:
        benchmark: its id in the run.
        label: as the report calls it.
        language: "zh", "en", ...
        metric: what the numbers are: accuracy (0 to 1), mrr, f1, bits_per_byte, ...
        higher_is_better: of the numbers.
        chance: what guessing gets; None where that is not defined.
    """

    benchmark: str
    label: str
    language: str
    metric: str
    higher_is_better: bool
    chance: float | None
