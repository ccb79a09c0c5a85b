"""What did evaluation find, as markup? Scores, dialogues, extractions, checks, costs."""

from __future__ import annotations

from collections.abc import Sequence

from hanlin.pipeline.report import charts, spans, theme, words
from hanlin.pipeline.report.card import (
    Card,
    Dialogue,
    Evaluation,
    ExportCheck,
    Score,
    ScoreRow,
    StageLine,
)
from hanlin.pipeline.report.elements import Child, Markup, join, language_tag, table, tag
from hanlin.pipeline.report.sections import legend, missing


def score_table(evaluation: Evaluation) -> Markup:
    """Return every score with its interval, chance level and what became of it."""
    models = evaluation.models
    header: list[Child] = ["benchmark", *models, "chance", "change"]
    rows = [_score_cells(row, models) for row in evaluation.rows]
    numeric = frozenset(range(1, 2 + len(models)))
    return table(header, rows, caption="Scores with 95 % intervals", numeric=numeric)


def _score_cells(row: ScoreRow, models: tuple[str, ...]) -> list[Child]:
    change = words.change(row, models)
    metric = (
        f"{words.metric(row.metric)}, {'higher' if row.higher_is_better else 'lower'} is better"
    )
    chance = "" if row.chance is None else _data(row.chance, row.metric)
    class_ = change.direction if change.direction in ("better", "worse") else "soft"
    return [
        join(words.title(row), tag("span", metric, class_="under")),
        *[_score_cell(row.scores.get(model), row) for model in models],
        chance,
        tag("span", f"{change.sign} {change.verdict}".strip(), class_=class_),
    ]


def _score_cell(score: Score | None, row: ScoreRow) -> Child:
    if score is None:
        return tag("span", "not evaluated", class_="soft")
    if score.value is None:
        return tag("span", words.number(None), class_="soft")
    under = []
    if score.low is not None and score.high is not None:
        low = words.number(score.low, row.metric).removesuffix(" %")
        bounds = tag("data", low, value=repr(score.low)), _data(score.high, row.metric)
        under.append(tag("span", bounds[0], " to ", bounds[1], class_="under"))
    if score.n is not None:
        under.append(tag("span", f"n = {score.n}", class_="under"))
    return join(tag("b", _data(score.value, row.metric)), *under)


def _data(value: float, metric: str) -> Markup:
    """Write a number for people and, in the attribute, all its digits."""
    return tag("data", words.number(value, metric), value=repr(value))


def interval_plots(evaluation: Evaluation) -> Markup | None:
    """Return the dots with whiskers, one panel for each axis."""
    panels = charts.interval_panels(evaluation.rows, evaluation.models)
    if not panels:
        return None
    figures = [
        tag("figure", tag("figcaption", tag("b", heading)), picture) for heading, picture in panels
    ]
    colors = dict(theme.model_colors(evaluation.models))
    names = {name: colors[name] for name in evaluation.models}
    return join(
        tag("h3", "With 95 % intervals"),
        legend({**names, "chance": "s-chance"}),
        tag("div", *figures, class_="multiples"),
    )


def fertility_part(card: Card) -> Markup:
    """Return tokens per character as bars, and what was counted in the vocabulary."""
    if not card.fertility:
        return missing("Tokens per character were not measured.")
    names = list(dict.fromkeys(bar.tokenizer for bar in card.fertility))
    colors = theme.model_colors(names)
    counts = " · ".join(f"{name}: {count:,}" for name, count in card.vocabulary)
    return join(
        legend({name: colors[name] for name in names}),
        tag("div", tag("figure", charts.fertility_chart(card.fertility)), class_="multiples"),
        tag("p", f"Pieces of the vocabulary: {counts}", class_="soft after") if counts else None,
        _segmentation_part(card),
    )


def _segmentation_part(card: Card) -> Markup | None:
    """Return what the tokenizer stage measured on its own texts, as bars."""
    if not card.segmentation:
        return None
    names = list(dict.fromkeys(found.tokenizer for found in card.segmentation))
    colors = theme.model_colors(names)
    figures = [tag("figure", chart) for chart in charts.segmentation_charts(card.segmentation)]
    return join(
        tag("h3", "Before and after the new pieces, on the texts that they were made for"),
        legend({name: colors[name] for name in names}),
        tag("div", *figures, class_="multiples"),
    )


def dialogues(evaluation: Evaluation) -> Markup:
    """Return sample dialogues, the models side by side."""
    boxes = [_dialogue(dialogue, evaluation.models) for dialogue in evaluation.dialogues]
    return tag("div", *boxes, class_="stack")


def _dialogue(dialogue: Dialogue, models: tuple[str, ...]) -> Markup:
    code = language_tag(dialogue.language)
    answers = []
    for model in models:
        answer = dialogue.answers.get(model)
        words_ = tag("p", "no answer recorded", class_="soft")
        if answer is not None:
            empty = tag("i", "(an empty answer)", class_="soft")
            words_ = tag("p", answer if answer.strip() else empty, class_="said", dir="auto",
                         lang=code)  # fmt: skip
        answers.append(tag("div", tag("h4", model), words_, class_="answer"))
    return tag(
        "article",
        tag("p", dialogue.prompt, class_="said asked", dir="auto", lang=code),
        tag("div", *answers, class_="answers"),
        class_="box",
    )


def extractions(evaluation: Evaluation) -> Markup:
    """Return extracted spans with their types, relations and events."""
    types = spans.entity_types(evaluation.extractions)
    boxes = [spans.sample_box(sample, types) for sample in evaluation.extractions]
    return join(spans.legend(types), tag("div", *boxes, class_="stack"))


def check_table(checks: Sequence[ExportCheck]) -> Markup:
    """Return what the checks of exported files found."""
    rows: list[list[Child]] = []
    for check in checks:
        verdict = {True: "passed", False: "failed", None: "not checked"}[check.is_ok]
        class_ = {True: "better", False: "worse", None: "soft"}[check.is_ok]
        details = [tag("li", name, ": ", value) for name, value in check.details]
        facts = tag("ul", *details, class_="plain") if details else None
        rows.append([check.file, tag("b", verdict, class_=class_), facts])
    header: list[Child] = ["file", "check", "measured"]
    return table(header, rows, caption="Checks of the exported files", numeric=frozenset())


def cost_table(stages: Sequence[StageLine]) -> Markup:
    """Return time and peak memory of each stage as bars."""
    most_time = max((stage.seconds or 0 for stage in stages), default=0) or 1
    most_memory = max((stage.peak_bytes or 0 for stage in stages), default=0) or 1
    rows: list[list[Child]] = []
    for stage in stages:
        note = tag("span", "from the cache", class_="under") if stage.is_cached else None
        if stage.status != "finished":
            note = tag("span", stage.status, class_="under")
        rows.append(
            [
                join(stage.id, note),
                words.stage_seconds(stage),
                charts.cell_bar((stage.seconds or 0) / most_time),
                words.stage_peak(stage),
                charts.cell_bar((stage.peak_bytes or 0) / most_memory),
            ]
        )
    known = [stage.seconds for stage in stages if stage.seconds is not None]
    peaks = [stage.peak_bytes for stage in stages if stage.peak_bytes is not None]
    rows.append(
        [
            tag("b", "together"),
            tag("b", words.seconds(sum(known) if known else None)),
            None,
            tag("b", f"at most {words.size(max(peaks))}" if peaks else words.NOT_RECORDED),
            None,
        ]
    )
    header: list[Child] = ["stage", "time", "", "peak memory", ""]
    return table(
        header, rows, caption="Time and peak memory of each stage", numeric=frozenset({1, 3})
    )


def machine_table(card: Card) -> Markup:
    """Return machine and versions."""
    if not card.environment:
        return missing("Machine and versions were not recorded.")
    terms = [
        tag("div", tag("dt", name.replace("_", " ")), tag("dd", value))
        for name, value in card.environment.items()
    ]
    return tag("dl", *terms, class_="facts-list")


def folded(summary: str, *children: Child) -> Markup:
    """Return a part that is opened on demand."""
    return tag("details", tag("summary", summary), *children)


def recipe_part(card: Card) -> Markup:
    """Return the recipe as it was run."""
    if not card.recipe_text:
        return missing("The recipe was not kept in the run's folder.")
    return folded("The recipe that was run", tag("pre", tag("code", card.recipe_text)))
