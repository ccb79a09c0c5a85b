"""How is training shown? Its curves, what was taught, and what the model says, as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hanlin.pipeline.report import theme, words
from hanlin.pipeline.report.card import (
    AskedAgain,
    Card,
    Curve,
    Quantity,
    Sample,
    TrainedRow,
    TrainingTexts,
)
from hanlin.pipeline.report.elements import Child, Markup, join, language_tag, table, tag
from hanlin.pipeline.report.sections import legend, missing, multiples
from hanlin.pipeline.report.texts import trained_parts

REWARD_COLORS = {"chosen": "s-after", "rejected": "s-before", "margin": "s-third"}


def curves_part(card: Card) -> Markup:
    """Return the curves as small multiples: losses, then probes, then preferences."""
    losses, bits = _of(card, "loss"), _of(card, "bits_per_byte")
    codes = dict.fromkeys(series.label for curve in bits for series in curve.series)
    colors = theme.language_colors(list(codes))
    note = words.cached_note(card)
    return join(
        tag("h3", "Training loss"),
        multiples(losses, {}) if losses else missing(f"The loss was {words.NOT_RECORDED}."),
        tag("h3", "Bits per byte on texts kept apart"),
        legend({words.language(code): color for code, color in colors.items()}),
        multiples(bits, colors) if bits
        else missing(f"Bits per byte during training were {words.NOT_RECORDED}."),
        _kind("Learned below zero, forgotten above", _of(card, "change"), colors),
        _kind("Preferences", [*_of(card, "rewards"), *_of(card, "preferred")], REWARD_COLORS),
        tag("p", note, class_="soft after") if note else None,
    )  # fmt: skip


def texts_part(card: Card) -> Markup:
    """Return what each stage was taught and what it says, where that was logged."""
    return join(*[_texts(texts) for texts in card.training])


def _of(card: Card, quantity: Quantity) -> list[Curve]:
    return [curve for curve in card.curves if curve.quantity == quantity]


def _kind(heading: str, curves: Sequence[Curve], colors: Mapping[str, str]) -> Markup | None:
    """Return curves with their legend, None where there are none."""
    if not curves:
        return None
    labels = dict.fromkeys(series.label for curve in curves for series in curve.series)
    named = {words.language(label): colors[label] for label in labels}
    return join(tag("h3", heading), legend(named), multiples(curves, colors))


def _texts(texts: TrainingTexts) -> Markup:
    return join(
        tag("h3", f"{texts.stage}: what it was taught, and what it says"),
        tag("pre", texts.continued) if texts.continued else None,
        *[_row(row) for row in texts.rows],
        _samples(texts) if texts.samples else None,
        _answers(texts) if texts.asked else None,
    )


def _row(row: TrainedRow) -> Markup:
    """Return a row; what the loss counts is marked."""
    parts = [
        tag("mark", part, class_="type-2") if is_trained else part
        for part, is_trained in trained_parts(row.text)
    ]
    return tag(
        "article",
        tag("h4", f"Row {row.row}, the trained part marked", class_="soft"),
        tag("p", *parts, class_="said", dir="auto"),
        tag("p", tag("b", "not wanted: "), row.rejected, class_="said soft", dir="auto")
        if row.rejected
        else None,
        class_="box after",
    )


def _samples(texts: TrainingTexts) -> Markup:
    rows: list[list[Child]] = [
        [words.language(sample.language), _said(sample.prompt, sample), _steps(sample)]
        for sample in texts.samples
    ]
    header: list[Child] = ["language", "opening", "how it goes on"]
    caption = f"How {texts.stage} goes on with texts kept apart"
    return tag("div", table(header, rows, caption=caption, numeric=frozenset()), class_="after")


def _steps(sample: Sample) -> Markup:
    lines = [
        tag("li", tag("span", f"step {step:g} ", class_="soft"), _said(text, sample))
        for step, text in sample.texts
    ]
    return tag("ul", *lines, class_="plain")


def _said(text: str, sample: Sample) -> Markup:
    return tag("span", text, class_="said", dir="auto", lang=language_tag(sample.language))


def _answers(texts: TrainingTexts) -> Markup:
    rows = [_answer(one) for one in texts.answers]
    header: list[Child] = ["question", "answer", "trained answer", "ends"]
    caption = f"What {texts.stage} answers to trained questions"
    return join(
        tag("p", words.answers_ended(texts), class_="after"),
        table(header, rows, caption=caption, numeric=frozenset()),
    )


def _answer(one: AskedAgain) -> list[Child]:
    texts: list[Child] = [
        tag("span", text, class_="said", dir="auto")
        for text in (one.prompt, one.answer, one.trained)
    ]
    end = tag("span", "yes" if one.is_ended else "no", class_="soft" if one.is_ended else "worse")
    return [*texts, end]
