"""How does the card read as Markdown? The same content as the page, for a repository or a mail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hanlin.pipeline.report import charts, exams, spans, words
from hanlin.pipeline.report.card import (
    Card,
    Dialogue,
    Evaluation,
    ExtractionSample,
    ScoreRow,
    TrainingTexts,
)
from hanlin.pipeline.report.sections import curve_caption
from hanlin.pipeline.report.summary import score_text

_SPECIAL = re.compile(r"([\\`*_\[\]|~$<>&]|^[#+-]|(?<=^\d)[.)](?=\s))")


def markdown(card: Card) -> str:
    """Return the report card as one Markdown document."""
    facts = {
        "recipe": card.recipe,
        "seed": "" if card.seed is None else str(card.seed),
        "hanlin": card.hanlin,
        "last stage finished": card.finished_at,
        "status": card.status,
    }
    parts = [
        f"# {escape(card.name)}",
        escape(card.description),
        " · ".join(f"{name}: {escape(value)}" for name, value in facts.items() if value),
        "\n".join(f"- {escape(note)}" for note in card.notes),
        *_results(card),
        *_stages(card),
        *_curves(card),
        *_fertility(card),
        *_samples(card),
        *_checks(card),
        *_origin(card),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def fenced(text: str, language: str = "") -> str:
    """Return text in a fence that is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def md_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells must be escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _results(card: Card) -> list[str]:
    parts = ["## Results"]
    for evaluation in card.evaluations:
        if evaluation.rows:
            parts.append(score_table(evaluation))
            parts += _exams(evaluation)
    if len(parts) == 1:
        parts.append("Not evaluated: there are no scores.")
    else:
        parts.append(
            "Intervals are 95 %. A change counts as better or worse where the two intervals do "
            "not overlap."
        )
    return parts


def _exams(evaluation: Evaluation) -> list[str]:
    """Return published figures beside one's own, and what the scores leave out."""
    parts = []
    for row in evaluation.rows:
        if row.published:
            rows = [
                [escape(cell) for cell in cells]
                for cells in exams.published_rows(row, evaluation.models)
            ]
            header = ["model", "part", escape(words.metric(row.metric)), "source"]
            parts += [f"### {escape(words.title(row))} beside published figures",
                      exams.LEAD, md_table(header, rows)]  # fmt: skip
    problems = [f"- {escape(line)}" for line in exams.problem_lines(evaluation)]
    return parts + (["### What a score leaves out", "\n".join(problems)] if problems else [])


def score_table(evaluation: Evaluation) -> str:
    """Return every score with its interval, chance level and what became of it."""
    models = evaluation.models
    header = ["benchmark", "metric", *map(escape, models), "chance", "change"]
    return md_table(header, [_score_cells(row, models) for row in evaluation.rows])


def _score_cells(row: ScoreRow, models: Sequence[str]) -> list[str]:
    better = "higher is better" if row.higher_is_better else "lower is better"
    chance = "" if row.chance is None else words.number(row.chance, row.metric)
    return [
        escape(words.title(row)),
        f"{escape(words.metric(row.metric))}, {better}",
        *[score_text(row.scores.get(model), row.metric) for model in models],
        chance,
        words.change(row, tuple(models)).verdict,
    ]


def _stages(card: Card) -> list[str]:
    rows = [
        [
            escape(stage.id),
            "from the cache" if stage.is_cached else stage.status,
            words.stage_seconds(stage),
            words.stage_peak(stage),
            "<br>".join(
                f"{escape(artifact.path)} {words.size(artifact.size_bytes)} "
                f"`{re.sub('[^0-9a-f]', '', artifact.sha256)[:12]}`"
                for artifact in stage.artifacts
            ),
        ]
        for stage in card.stages
    ]
    header = ["stage", "status", "time", "peak memory", "artifacts"]
    return ["## From stage to stage", md_table(header, rows) if rows else "No stage is known."]


def _curves(card: Card) -> list[str]:
    rows = [
        [
            escape(curve.stage),
            curve.quantity.replace("_", " "),
            "<br>".join(
                f"{charts.sparkline([v for _, v in series.points])} {escape(series.label)}"
                for series in curve.series
            ),
            curve_caption(curve).replace("|", r"\|"),
        ]
        for curve in card.curves
    ]
    shown = md_table(["stage", "quantity", "curve", "first → last"], rows)
    return [
        "## Training",
        shown if rows else "No curve was recorded.",
        escape(words.cached_note(card)),
        *[part for texts in card.training for part in _training_texts(texts)],
    ]


def _training_texts(texts: TrainingTexts) -> list[str]:
    """Return what a stage was taught and what it says."""
    parts = [fenced(texts.continued)] if texts.continued else []
    for row in texts.rows:
        parts += [f"Row {row.row}, ⟦trained⟧:", fenced(row.text)]
        parts += ["not wanted:", fenced(row.rejected)] if row.rejected else []
    for sample in texts.samples:
        said = "\n".join(f"step {step:g}: {sample.prompt}▸{text}" for step, text in sample.texts)
        parts += [f"{escape(words.language(sample.language))}, gone on with:", fenced(said)]
    if texts.asked:
        parts.append(words.answers_ended(texts))
    for one in texts.answers:
        parts.append(fenced(f"{one.prompt}▸{one.answer}\ntrained: {one.trained}"))
    return [f"### {escape(texts.stage)}: what it was taught, and what it says", *parts]


def _fertility(card: Card) -> list[str]:
    rows = [
        [escape(words.language(bar.language)), escape(bar.tokenizer),
         f"{bar.tokens_per_character:.3f}"]
        for bar in card.fertility
    ]  # fmt: skip
    shown = md_table(["language", "tokenizer", "tokens per character"], rows)
    counts = " · ".join(f"{escape(name)}: {count}" for name, count in card.vocabulary)
    pieces = f"Pieces of the vocabulary: {counts}" if counts else ""
    return ["## Tokens per character", shown if rows else "Not measured.", pieces, *_cut(card)]


def _cut(card: Card) -> list[str]:
    """Return what the tokenizer stage measured on its own texts."""
    if not card.segmentation:
        return []
    rows = [
        [
            escape(words.language(found.language)),
            escape(found.tokenizer),
            f"{found.characters_per_token:.3f}",
            "" if (share := found.bytes_fallen_back_share) is None else f"{100 * share:.1f} %",
        ]
        for found in card.segmentation
    ]
    header = ["language", "tokenizer", "characters per token", "bytes fallen back"]
    said = "Before and after the new pieces, on the texts that they were made for:"
    return [said, md_table(header, rows)]


def _samples(card: Card) -> list[str]:
    talks = [(d, e.models) for e in card.evaluations for d in e.dialogues]
    samples = [s for e in card.evaluations for s in e.extractions]
    nothing = "Not evaluated: there are no samples."
    return [
        "## Dialogues",
        *([_dialogue(dialogue, models) for dialogue, models in talks] or [nothing]),
        "## Extraction",
        *([_extraction(sample) for sample in samples] or [nothing]),
    ]


def _dialogue(dialogue: Dialogue, models: Sequence[str]) -> str:
    parts = [fenced(dialogue.prompt)]
    for model in models:
        answer = dialogue.answers.get(model)
        shown = "no answer recorded" if answer is None else fenced(answer or "(an empty answer)")
        parts.append(f"**{escape(model)}:**\n\n{shown}")
    return "\n\n".join(parts)


def _extraction(sample: ExtractionSample) -> str:
    found = [*map(spans.entity_line, sample.found.entities), *spans.fact_lines(sample.found)]
    lines = [f"- {escape(line)}" for line in found] or ["- nothing found"]
    compared = spans.differences(sample)
    if compared is not None:
        for heading, some in zip(("missed", "not in the reference"), compared, strict=True):
            lines += [f"- {heading}: {escape(line)}" for line in some]
    return fenced(sample.text) + "\n\n" + "\n".join(lines)


def _checks(card: Card) -> list[str]:
    verdicts = {True: "passed", False: "failed", None: "not checked"}
    rows = [
        [
            escape(check.file),
            verdicts[check.is_ok],
            "<br>".join(f"{escape(name)}: {escape(value)}" for name, value in check.details),
        ]
        for check in card.checks
    ]
    shown = md_table(["file", "check", "measured"], rows)
    return ["## Exported files", shown if rows else "Nothing was exported."]


def _origin(card: Card) -> list[str]:
    rows = [[escape(name), escape(value)] for name, value in card.environment.items()]
    machine = md_table(["what", "version"], rows) if rows else "Not recorded."
    recipe = fenced(card.recipe_text, "yaml") if card.recipe_text else "The recipe was not kept."
    return ["## Machine and versions", machine, "## Recipe", recipe]
