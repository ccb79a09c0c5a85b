"""Where does each part stand on the page? One self-contained HTML file, nothing is fetched."""

from __future__ import annotations

import base64
import hashlib

from hanlin.pipeline.report import exams, findings, sections, theme, trained
from hanlin.pipeline.report.card import Card
from hanlin.pipeline.report.elements import Child, Markup, tag
from hanlin.pipeline.report.sections import missing, section

STATUS_WORDS = {
    "finished": "finished",
    "failed": "a stage failed",
    "unfinished": "unfinished",
    "partial": "not every stage was run",
}


def render(card: Card) -> str:
    """Return the report card as one HTML page."""
    facts = [
        f"recipe {card.recipe}" if card.recipe else "",
        f"seed {card.seed}" if card.seed is not None else "",
        f"hanlin {card.hanlin}" if card.hanlin else "",
        card.finished_at,
        STATUS_WORDS[card.status],
    ]
    parts = [*_results(card), *_story(card), *_end(card)]
    return page(
        card.name,
        kicker="Hanlin report card",
        intro=card.description,
        facts=" · ".join(fact for fact in facts if fact),
        notes=list(card.notes),
        parts=parts,
    )


def page(
    name: str, *, kicker: str, intro: str, facts: str, notes: list[str], parts: list[Markup]
) -> str:
    """Return a page of the report's look around some sections."""
    style, script = Markup(theme.stylesheet()), Markup(theme.script())
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content="hanlin"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{name} · {kicker}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
    )
    button = tag("button", "Dark", type="button", id="theme", hidden=True)
    seal = tag("span", "翰林", class_="seal", lang="zh", aria_hidden="true")
    header = tag(
        "header",
        tag("div", seal, tag("p", kicker, class_="kicker"), button, class_="brand"),
        tag("h1", name, dir="auto"),
        tag("p", intro, class_="intro", dir="auto") if intro else None,
        tag("p", facts, class_="soft"),
        _notes(notes),
    )
    footer = tag("footer", tag("p", "Made by hanlin from the run's folder alone.", class_="soft"))
    body = tag("body", header, tag("main", *parts), footer, tag("script", script))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _notes(notes: list[str]) -> Markup | None:
    if not notes:
        return None
    items = [tag("li", note) for note in notes]
    heading = tag("h2", "Not everything is here")
    return tag("aside", heading, tag("ul", *items), class_="notes")


def _results(card: Card) -> list[Markup]:
    if not card.evaluations:
        return [section("results", "Results", missing("Not evaluated: there are no scores yet."))]
    parts: list[Markup] = []
    for evaluation in card.evaluations:
        several = f", stage {evaluation.stage}" if len(card.evaluations) > 1 else ""
        id_ = "" if not several else f"-{len(parts)}"
        if not evaluation.rows:
            words_ = missing("Not evaluated: its scores.json has no rows.")
            parts.append(section(f"results{id_}", f"Results{several}", words_))
            continue
        parts.append(
            section(
                f"results{id_}",
                f"Results{several}",
                sections.headline_tiles(evaluation),
                tag("h3", "Every score"),
                findings.score_table(evaluation),
                findings.interval_plots(evaluation),
                exams.exam_details(evaluation),
                lead=_results_lead(evaluation.models),
            )
        )
    return parts


def _results_lead(models: tuple[str, ...]) -> str:
    if len(models) < 2:
        return "One model was evaluated, so there is nothing to compare it with."
    return (
        f"From “{models[0]}” to “{models[-1]}”. A change counts as better or worse where the "
        "two 95 % intervals do not overlap."
    )


def _story(card: Card) -> list[Markup]:
    line: Child = missing("No stage is known.")
    if card.stages:
        line = sections.artifact_line(card.stages)
    parts = [
        section("line", "From stage to stage", line),
        section("training", "Training", trained.curves_part(card), trained.texts_part(card)),
        section(
            "tokens",
            "Tokens per character",
            findings.fertility_part(card),
            lead="Fewer tokens for the same text: a longer context and faster answers.",
        ),
    ]
    talks = [findings.dialogues(e) for e in card.evaluations if e.dialogues]
    facts = [findings.extractions(e) for e in card.evaluations if e.extractions]
    nothing = "Not evaluated: there are no samples."
    parts.append(section("dialogues", "Dialogues", *(talks or [missing(nothing)])))
    parts.append(section("extraction", "Extraction", *(facts or [missing(nothing)])))
    return parts


def _end(card: Card) -> list[Markup]:
    exported: Child = missing("Nothing was exported.")
    if card.checks:
        exported = findings.check_table(card.checks)
    costs: Child = findings.cost_table(card.stages) if card.stages else missing("Not recorded.")
    return [
        section("export", "Exported files", exported),
        section("cost", "Time and memory", costs),
        section(
            "origin",
            "How to get this again",
            findings.machine_table(card),
            findings.recipe_part(card),
            findings.folded("Every artifact", sections.artifact_table(card.stages))
            if any(stage.artifacts for stage in card.stages)
            else None,
        ),
    ]
