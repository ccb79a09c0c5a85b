"""How does a model card look? Markdown with the hub's metadata on top.

Keys: https://huggingface.co/docs/hub/model-cards and its specification, modelcard.md in hub-docs.
"""

from __future__ import annotations

from typing import Any

import yaml

from hanlin.weights.card.card import MARK, ModelCard
from hanlin.weights.card.chain import Chain, Link
from hanlin.weights.card.lineage import HUB_ID
from hanlin.weights.card.results import Measured, number, with_interval
from hanlin.weights.card.training import data_section, training_section
from hanlin.weights.card.usage import prompt_section, usage_section
from hanlin.weights.card.words import cell, table

UNKNOWN = "not known"


def page(card: ModelCard) -> str:
    """Return the whole README.md; the same facts always give the same bytes."""
    about = cell(card.about) or "What it is for: not said."
    usage = usage_section(
        card.model, name=_place(card), base=_base(card), is_adapter=card.is_adapter
    )
    sections = [
        ("", [f"# {cell(card.name)}", "", MARK, "", about]),
        ("Licenses", licenses_section(card)),
        ("What was measured", results_section(card)),
        ("Prompt format", prompt_section(card.model)),
        ("How to use it", usage),
        ("How it was trained", training_section(card)),
        ("What it was trained on", data_section(card)),
        ("Limitations", limitations_section(card)),
    ]
    body = ["\n".join([f"## {title}", "", *lines] if title else lines) for title, lines in sections]
    dump = yaml.safe_dump(metadata(card), allow_unicode=True, sort_keys=False, width=100)
    return f"---\n{dump}---\n\n" + "\n\n".join(body) + "\n"


def metadata(card: ModelCard) -> dict[str, Any]:
    """Return the hub's metadata; a key whose value is not known is left out, but for `license`."""
    license = card.chain.result
    data = [link.name for link in card.chain.links if link.part == "data"]
    relation = "adapter" if card.is_adapter else "finetune"
    values: dict[str, Any] = {
        "language": list(card.languages),
        "license": "unknown",
        **(license.metadata if license else {}),
        "library_name": "peft" if card.is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": list(card.bases),
        "base_model_relation": relation if card.bases else "",
        "datasets": [name for name in data if HUB_ID.fullmatch(name)],
        "tags": ["hanlin", *(["lora"] if card.is_adapter else [])],
        "model-index": _model_index(card),
    }
    return {key: value for key, value in values.items() if value}


def _model_index(card: ModelCard) -> list[dict[str, Any]]:
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"type": row.benchmark, "name": row.where},
            "metrics": [
                {
                    "type": row.metric,
                    "value": row.score["value"],
                    "name": _metric_name(row),
                }
            ],
        }
        for row in card.results
    ]
    return [{"name": card.name, "results": results}] if results else []


def _metric_name(row: Measured) -> str:
    """Return the metric with its interval and chance, for which the hub has no keys."""
    low, high = row.score.get("low"), row.score.get("high")
    interval = "" if low is None or high is None else f"95 %: {low:.3f} to {high:.3f}"
    chance = "" if row.chance is None else f"chance: {row.chance:.3f}"
    more = ", ".join(filter(None, [interval, chance]))
    return f"{row.metric} ({more})" if more else row.metric


def licenses_section(card: ModelCard) -> list[str]:
    """Return the chain of licenses and what it forbids."""
    chain = card.chain
    rows = [
        [link.part, cell(link.name), _license_words(link), link.known_from or "–"]
        for link in chain.links
    ]
    lines = table(["part", "name", "license", "known from"], rows) if rows else []
    lines = lines or ["What this model was made from is not recorded."]
    if card.lineage and any(record["stage"] == "base" for record in card.lineage.records):
        lines += ["", "Its base model was trained from nothing in the same run."]
    return [*lines, "", *_verdict(chain)]


def _license_words(link: Link) -> str:
    license = link.license
    if license is None:
        return f"**{UNKNOWN}**"
    name = f"[{cell(license.name)}]({license.link})" if license.link else cell(license.name)
    terms = [*license.terms, *([] if license.commercial is not None else ["terms not known here"])]
    if license.stays:
        terms.append("the model must carry it, too")
    return f"{name}: {'; '.join(terms)}" if terms else name


def _verdict(chain: Chain) -> list[str]:
    lines = []
    if chain.forbids_commercial:
        lines.append(f"**No commercial use**: {_because(chain.forbids_commercial)}.")
    if chain.forbids_changes:
        lines.append(
            f"**Not to be passed on**: {_because(chain.forbids_changes)} forbids changed works."
        )
    for conflict in chain.conflicts:
        lines.append(f"**The license named for this model promises more** than {cell(conflict)}.")
    if chain.unknown:
        names = ", ".join(cell(link.name) for link in chain.unknown)
        lines.append(f"The license of {names} is {UNKNOWN}. What is not known is no permission.")
    result = chain.result
    if result is None:
        lines.append(f"The license of this model is {UNKNOWN}: nobody named it.")
    elif chain.given:
        lines.append(f"This model: {cell(result.name)}, named by its maker.")
    else:
        lines.append(f"This model: {cell(result.name)}, as it follows from the chain.")
    return [line for text in lines for line in (text, "")][:-1]


def _because(links: list[Link]) -> str:
    return ", ".join(
        f"{cell(link.name)} ({cell(link.license.name)})" for link in links if link.license
    )


def results_section(card: ModelCard) -> list[str]:
    """Return the report card's numbers with intervals and chance."""
    if not card.results:
        return [
            "Nothing: the run holds no scores of this model."
            if card.report
            else "Nothing is recorded: this card was written without a run."
        ]
    has_before = any(row.before for row in card.results)
    models = ["before", "this model"] if has_before else ["this model"]
    rows = []
    for row in card.results:
        direction = "higher" if row.higher_is_better else "lower"
        before = [with_interval(row.before, row.metric)] if has_before else []
        items = row.score.get("n")
        rows.append(
            [
                cell(row.where),
                f"{cell(row.metric.replace('_', ' '))}, {direction} is better",
                number(row.chance, row.metric),
                *before,
                with_interval(row.score, row.metric),
                "–" if items is None else f"{items:.0f}",
            ]
        )
    header = ["benchmark", "metric", "chance", *models, "items"]
    lines = [*table(header, rows), "", "Intervals are 95 %; chance is what guessing gets."]
    if card.is_adapter:
        lines.append("Measured on the model that this adapter was merged into.")
    return lines


def limitations_section(card: ModelCard) -> list[str]:
    """Return what the numbers and the settings show, and what nobody looked at."""
    lines = ["- A rehearsal (`--tiny`): it shows that the recipe runs. The model knows nothing."]
    lines = lines if card.is_rehearsal else []
    lines += [
        f"- {cell(row.where)}: not clearly above chance."
        for row in card.results
        if row.is_above_chance is False
    ]
    lines += [
        f"- {cell(row.where)}: worse than before training ({with_interval(row.before, row.metric)}"
        f" became {with_interval(row.score, row.metric)})."
        for row in card.results
        if row.is_worse_than_before
    ]
    lines += [
        f"- {cell(row.where)}: {cell(text)}." for row in card.results for text in row.problems
    ]
    unmeasured = [
        code for code in card.languages if code not in {row.language for row in card.results}
    ]
    if unmeasured:
        lines.append(f"- Not measured in: {', '.join(map(cell, unmeasured))}.")
    lines.append("- Answers can be wrong and sound right; nothing above says how often beyond it.")
    lines.append("- Bias, safety, personal data in answers and resistance to misuse: not measured.")
    return lines


def _place(card: ModelCard) -> str:
    """Return what stands for the model in commands and code."""
    return card.name if HUB_ID.fullmatch(card.name) else "."


def _base(card: ModelCard) -> str:
    return card.bases[0] if card.bases else ""
