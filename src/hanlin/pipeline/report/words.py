"""How are numbers, languages and changes put into words? One wording for every format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hanlin.pipeline.report.card import (
    Card,
    Evaluation,
    Score,
    ScoreRow,
    StageLine,
    TrainingTexts,
)

NOT_RECORDED = "not recorded"

LANGUAGES = {
    "zh": "Chinese", "en": "English", "ja": "Japanese", "ko": "Korean", "de": "German",
    "fr": "French", "es": "Spanish", "ru": "Russian", "ar": "Arabic", "pt": "Portuguese",
    "it": "Italian", "vi": "Vietnamese", "th": "Thai", "hi": "Hindi",
}  # fmt: skip
METRICS = {
    "accuracy": "accuracy",
    "mrr": "mean reciprocal rank",
    "bits_per_byte": "bits per byte",
    "f1": "F1",
    "tokens_per_character": "tokens per character",
}
SHORT_METRICS = {
    "mrr": "MRR", "bits_per_byte": "bits/byte", "tokens_per_character": "tokens/character",
}  # fmt: skip
SHARES = ("accuracy", "mrr", "f1")  # metrics between 0 and 1, which share one axis

Direction = Literal["better", "worse", "no clear change", "unchanged", "no comparison", ""]


def language(code: str) -> str:
    """Return a language's English name; a code that is not known stays as it is."""
    return LANGUAGES.get(code, code)


def metric(name: str) -> str:
    """Return a metric's name for people."""
    return METRICS.get(name, name.replace("_", " "))


def short_metric(name: str) -> str:
    """Return a metric's name where there is little room."""
    return SHORT_METRICS.get(name, metric(name))


def number(value: float | None, metric_name: str = "") -> str:
    """Write a score: accuracy in percent, everything else with three decimals."""
    if value is None:
        return "no number"
    if metric_name == "accuracy":
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def curve_value(value: float, quantity: str) -> str:
    """Write a point of a curve: percent with one decimal, a change with its sign."""
    if quantity == "change":
        return f"{value:+.1f} %"
    return f"{value:.1f} %" if quantity == "preferred" else f"{value:.3f}"


def interval(score: Score, metric_name: str) -> str:
    """Write a 95 % interval, or "" where there is none."""
    if score.low is None or score.high is None:
        return ""
    if metric_name == "accuracy":
        return f"{100 * score.low:.1f} to {100 * score.high:.1f} %"
    return f"{number(score.low)} to {number(score.high)}"


def seconds(value: float | None) -> str:
    """Write a duration: 4.2 s, 3 min 20 s, 2 h 05 min."""
    if value is None:
        return NOT_RECORDED
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float | None) -> str:
    """Write a number of bytes in decimal units: 812 B, 3.4 MB, 26 GB."""
    if count is None:
        return NOT_RECORDED
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            digits = 0 if unit == "B" or count >= 99.95 else 1
            return f"{count:.{digits}f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def stage_seconds(stage: StageLine) -> str:
    """Write how long a stage took; a dash where it has not come to its end."""
    return "–" if stage.seconds is None and stage.status != "finished" else seconds(stage.seconds)


def stage_peak(stage: StageLine) -> str:
    """Write a stage's peak memory; a dash where it has not come to its end."""
    is_open = stage.peak_bytes is None and stage.status != "finished"
    return "–" if is_open else size(stage.peak_bytes)


def answers_ended(texts: TrainingTexts) -> str:
    """Say how many trained questions got an answer with an end."""
    return f"{texts.ended} of {texts.asked} answers to trained questions come to their end."


def cached_note(card: Card) -> str:
    """Say which stages have no curve because their result was taken from the cache."""
    ids = [stage.id for stage in card.stages if stage.is_cached]
    return f"Taken from the cache, so nothing was logged in this run: {', '.join(ids)}." * bool(ids)


def amount(count: float) -> str:
    """Write a count briefly: 950, 12.3 k, 4.2 M."""
    for unit in ("", " k", " M", " G"):
        if abs(count) < 999.5:
            return f"{count:.0f}" if not unit or count >= 99.95 else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:.1f} T"


@dataclass(frozen=True)
class Change:
    """What became of a score.

    Attributes:
        before: score of the first model, None where it was not evaluated.
        after: score of the last model, None where it was not evaluated.
        direction: "no clear change" where the two 95 % intervals overlap, "no comparison" where
            one of them was not evaluated; "" with one model.
        against_chance: "above chance", "at chance level", "below chance", or "".
    """

    before: Score | None
    after: Score | None
    direction: Direction
    against_chance: str
    is_higher_better: bool

    @property
    def verdict(self) -> str:
        """Return both judgements in a few words."""
        return "; ".join(part for part in (self.direction, self.against_chance) if part)

    @property
    def sign(self) -> str:
        """Return an arrow for where the value went, "≈" where that is not clear."""
        if self.direction in ("better", "worse"):
            return "↑" if (self.direction == "better") == self.is_higher_better else "↓"
        return {"no clear change": "≈", "unchanged": "="}.get(self.direction, "")


def change(row: ScoreRow, models: tuple[str, ...]) -> Change:
    """Judge a row by its first and its last model; with one model only against chance."""
    before = row.scores.get(models[0]) if len(models) > 1 else None
    after = row.scores.get(models[-1]) if models else None
    way = direction(row, before, after) if len(models) > 1 else ""
    return Change(before, after, way, against_chance(row, after), row.higher_is_better)


def direction(row: ScoreRow, before: Score | None, after: Score | None) -> Direction:
    """Tell whether a score became better, by whether the 95 % intervals are apart."""
    first, second = _bounds(before), _bounds(after)
    if first is None or second is None:
        return "no comparison"
    (low_a, value_a, high_a), (low_b, value_b, high_b) = first, second
    if value_a == value_b:
        return "unchanged"
    if low_b > high_a or low_a > high_b:
        return "better" if (value_b > value_a) == row.higher_is_better else "worse"
    return "no clear change"


def against_chance(row: ScoreRow, score: Score | None) -> str:
    """Tell where a score lies against guessing, "" where that is not known."""
    bounds = _bounds(score)
    if row.chance is None or bounds is None:
        return ""
    low, _, high = bounds
    if low > row.chance:
        return "above chance"
    return "below chance" if high < row.chance else "at chance level"


def title(row: ScoreRow) -> str:
    """Return a row's label with its language where the label does not say it."""
    name = language(row.language)
    said = name.lower() in row.label.lower() or not name
    return row.label if said else f"{row.label}, {name}"


def headlines(evaluation: Evaluation) -> list[ScoreRow]:
    """Choose the rows that tell the story: those of the new language first.

    The new language is the first one that is not English; of English only bits per byte is a
    headline, because it tells what was forgotten.
    """
    languages = list(dict.fromkeys(row.language for row in evaluation.rows))
    new = next((name for name in languages if name != "en"), languages[0] if languages else "")
    wanted = [("accuracy", new), ("mrr", new), ("bits_per_byte", new)]
    wanted += [("bits_per_byte", name) for name in languages if name != new]
    wanted += [("tokens_per_character", new), ("f1", new)]
    rows = [_first(evaluation, name, code) for name, code in wanted]
    found = list({id(row): row for row in rows if row is not None}.values())
    return found or list(evaluation.rows[:6])


def _first(evaluation: Evaluation, metric_name: str, code: str) -> ScoreRow | None:
    rows = [row for row in evaluation.rows if row.metric == metric_name]
    in_language = (row for row in rows if row.language == code)
    if metric_name in ("f1", "tokens_per_character"):
        return next(in_language, rows[0] if rows else None)
    return next(in_language, None)


def _bounds(score: Score | None) -> tuple[float, float, float] | None:
    """Return the interval with the value in its middle; without one it is the value alone."""
    if score is None or score.value is None:
        return None
    low = score.value if score.low is None else score.low
    high = score.value if score.high is None else score.high
    return low, score.value, high
