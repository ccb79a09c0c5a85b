"""What are the parts of the page? Each function turns one part of the card into markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hanlin.pipeline.report import charts, words
from hanlin.pipeline.report.card import Curve, Evaluation, Score, ScoreRow, StageLine
from hanlin.pipeline.report.elements import Child, Markup, join, table, tag


def section(id_: str, heading: str, *children: Child, lead: str = "") -> Markup:
    """Return a part of the page with its heading."""
    return tag(
        "section",
        tag("h2", heading),
        tag("p", lead, class_="lead") if lead else None,
        *children,
        id=id_,
    )


def missing(words_: str) -> Markup:
    """Say plainly that something is not there."""
    return tag("p", words_, class_="missing")


def headline_tiles(evaluation: Evaluation) -> Markup:
    """Return the numbers that tell the story."""
    tiles = [_tile(row, evaluation.models) for row in words.headlines(evaluation)]
    return tag("div", *tiles, class_="tiles")


def _tile(row: ScoreRow, models: tuple[str, ...]) -> Markup:
    change = words.change(row, models)
    after = tag("b", _value(row, change.after))
    value = after
    if len(models) > 1:
        before = tag("span", _value(row, change.before), class_="was")
        value = join(before, tag("span", "→", class_="to", aria_label="to"), after)
    small = []
    if change.after is not None and (interval := words.interval(change.after, row.metric)):
        small.append(f"95 % interval {interval}")
    if row.chance is not None:
        small.append(f"chance {words.number(row.chance, row.metric)}")
    return tag(
        "div",
        tag("h3", words.title(row)),
        tag("p", words.metric(row.metric), class_="soft") if _is_unsaid(row) else None,
        tag("p", value, class_="value"),
        charts.strip_chart(row, models),
        *[tag("p", line, class_="soft") for line in small],
        _badge(change),
        class_="tile",
    )


def _is_unsaid(row: ScoreRow) -> bool:
    return words.metric(row.metric).lower() not in row.label.lower()


def _value(row: ScoreRow, score: Score | None) -> Child:
    if score is None:
        return "not evaluated"
    if score.value is None:
        return words.number(None)
    return tag("data", words.number(score.value, row.metric), value=repr(score.value))


def _badge(change: words.Change) -> Markup | None:
    if not change.verdict:
        return None
    class_ = change.direction if change.direction in ("better", "worse") else "soft"
    return tag("p", f"{change.sign} {change.verdict}".strip(), class_=f"badge {class_}")


def artifact_line(stages: Sequence[StageLine]) -> Markup:
    """Return the run's line of stages, each with what it left."""
    return tag("ol", *[_chip(stage) for stage in stages], class_="line")


def _chip(stage: StageLine) -> Markup:
    costs = []
    if stage.artifacts:
        costs = [words.seconds(stage.seconds)]
        costs.append(words.size(sum(artifact.size_bytes for artifact in stage.artifacts)))
    state = "from the cache" if stage.is_cached else stage.status
    shown = sorted(stage.artifacts, key=lambda artifact: -artifact.size_bytes)[:1]
    rest = len(stage.artifacts) - len(shown)
    return tag(
        "li",
        tag("h3", stage.id),
        tag("p", stage.stage, class_="soft") if stage.stage != stage.id else None,
        tag("p", " · ".join(costs), class_="cost") if costs else None,
        tag("p", state, class_=f"state {stage.status.replace(' ', '-')}")
        if state != "finished"
        else None,
        *[
            tag("p", artifact.kind, " ", tag("code", artifact.sha256[:8]), class_="soft",
                title=f"{artifact.path}, sha256 {artifact.sha256}")
            for artifact in shown
        ],
        tag("p", f"and {rest} more", class_="soft") if rest else None,
        class_=f"chip {stage.status.replace(' ', '-')}",
    )  # fmt: skip


def artifact_table(stages: Sequence[StageLine]) -> Markup:
    """Return every artifact with its full digest."""
    rows: list[list[Child]] = [
        [artifact.path, artifact.kind, words.size(artifact.size_bytes),
         tag("code", artifact.sha256)]
        for stage in stages
        for artifact in stage.artifacts
    ]  # fmt: skip
    header: list[Child] = ["path", "kind", "size", "sha256"]
    return table(header, rows, caption="Every artifact of the run", numeric=frozenset({2}))


def multiples(curves: Sequence[Curve], colors: Mapping[str, str]) -> Markup:
    """Return curves side by side; `colors` maps a series to its class."""
    figures = [
        tag(
            "figure",
            tag("figcaption", tag("b", curve.stage), " ", tag("span", curve_caption(curve))),
            charts.curve_chart(curve, colors),
        )
        for curve in curves
    ]
    return tag("div", *figures, class_="multiples")


def curve_caption(curve: Curve) -> str:
    """Return the facts of a curve: last values, steps, tokens, speed."""
    ends, shown = [], words.curve_value
    for series in curve.series:
        name = "" if series.label == "loss" else f"{words.language(series.label)} "
        first, last = (shown(series.points[i][1], curve.quantity) for i in (0, -1))
        ends.append(f"{name}{first} → {last}")
    facts = [", ".join(ends), f"{curve.steps:,.0f} steps"]
    if curve.tokens is not None:
        facts.append(f"{words.amount(curve.tokens)} tokens")
    if curve.tokens_per_s is not None:
        facts.append(f"{words.amount(curve.tokens_per_s)} tokens/s")
    if curve.steps_per_point > 1:
        facts.append(f"each point is the mean of {curve.steps_per_point} logged values")
    return " · ".join(facts)


def legend(colors: Mapping[str, str]) -> Markup | None:
    """Return names with the colors in which they are drawn."""
    if not colors:
        return None
    items = [
        tag("li", tag("span", class_=f"swatch {color}"), name) for name, color in colors.items()
    ]
    return tag("ul", *items, class_="legend")
