"""What stands behind a score? Subjects, categories, letters chosen, and what was left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hanlin.core.records import Question
from hanlin.evaluation.scoring import Ranking
from hanlin.evaluation.statistics import Estimate, wilson_mean

SHOWN_POSITIONS = 60
HABIT_SHARE = 0.25  # of the questions: chosen so much more often than right
FEWEST_FOR_HABITS = 20  # questions


@dataclass(frozen=True)
class Outcome:
    """What a model did with one question.

    Attributes:
        question: the question as it was asked.
        correct: 1, 0, or a fraction where equals share the first place.
        choices: what could be chosen; empty for a cloze.
        answer: index of the right choice, None for a cloze.
        choice: index of what was chosen, None where that cannot be told.
        num_shots: examples that were in the prompt.
        num_cut: tokens cut off its beginning.
        ranking: where the right choice stands; None for generated answers.
        correct_norm: `correct` by likelihood per character; None for generated answers.
        record: the row for the records.
    """

    question: Question
    correct: float
    choices: tuple[str, ...]
    answer: int | None
    choice: int | None
    num_shots: int
    num_cut: int
    ranking: Ranking | None
    correct_norm: float | None
    record: dict[str, Any]


def averaged(outcomes: Sequence[Outcome], how: str, *, categories: Mapping[str, str]) -> Estimate:
    """Return the accuracy over questions (micro), over subjects (macro), or over categories.

    The mean over categories is the mean of the means over each one's subjects.
    """
    subjects = _by_subject(outcomes)
    weights = {name: 1 / len(subjects) for name in subjects}
    if how == "micro":
        weights = {name: len(rows) / len(outcomes) for name, rows in subjects.items()}
    elif how == "category":
        sizes = Counter(categories.get(name, "") for name in subjects)
        weights = {n: 1 / len(sizes) / sizes[categories.get(n, "")] for n in subjects}
    shares = [(weights[n], sum(o.correct for o in rows), len(rows)) for n, rows in subjects.items()]
    return wilson_mean(shares)


def breakdown(
    outcomes: Sequence[Outcome], *, categories: Mapping[str, str], wanted_shots: int
) -> dict[str, Any]:
    """Return the details of a result as plain data."""
    details: dict[str, Any] = {
        "subjects": {
            name: {"accuracy": _mean(rows), "n": len(rows)}
            for name, rows in sorted(_by_subject(outcomes).items())
        },
        "fewer_shots": sum(outcome.num_shots < wanted_shots for outcome in outcomes),
        "truncated": sum(outcome.num_cut > 0 for outcome in outcomes),
        "unparsed": sum(not o.choice and o.choice != 0 for o in outcomes if o.choices),
    }
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.question.subject in categories:
            groups[categories[outcome.question.subject]].append(outcome)
    if groups:
        details["categories"] = {name: _score(rows) for name, rows in sorted(groups.items())}
    labels: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        for label in outcome.question.labels:
            labels[label].append(outcome)
    if labels:
        details["disciplines"] = {name: _ranked(rows) for name, rows in sorted(labels.items())}
    return {**details, "bias": _bias(outcomes)}


def problems(details: Mapping[str, Any]) -> list[str]:
    """Return what a reader of a score must know, in plain words: nothing is left out in silence."""
    total = details.get("questions", 0)
    bad = details.get("bad_rows", {"count": 0, "rows": []})
    missing = details.get("missing_subjects", [])
    shots = details.get("shots")
    found = []
    if bad["count"]:
        first = next(iter(bad["rows"]), None)
        where = ""
        if first:
            where = f", the first: {first['source']}:{first['line']}: {first['reason']}"
        found.append(f"{bad['count']} rows cannot be used and are left out{where}")
    if missing:
        found.append(f"{len(missing)} subjects are missing, the first: {missing[0]}")
    counts = {
        "several_answers": "questions have several right answers, which this scorer cannot choose; "
        "they are left out",
        "hidden_answers": "questions have no answer and are left out",
        "truncated": f"of {total} questions lost their beginning to fit the model's context",
        "fewer_shots": f"of {total} questions had room for fewer than {shots} examples",
        "unparsed": f"of {total} generated answers name no option and count as wrong",
    }
    found += [f"{details[key]} {text}" for key, text in counts.items() if details.get(key)]
    return found + _habits(details.get("bias", {}))


def _habits(bias: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line about an option that is chosen far more often than it is right."""
    total = sum(counts["chosen"] for counts in bias.values())
    if total < FEWEST_FOR_HABITS:
        return []
    name, most = max(bias.items(), key=lambda item: item[1]["chosen"])
    if most["chosen"] - most["right"] < total * HABIT_SHARE:
        return []
    return [
        f"option {name} was chosen in {most['chosen']} of {total} questions and is right in "
        f"{most['right']}: a habit more than an answer"
    ]


def _bias(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return how often each letter or position was chosen, and how often it was right."""
    placed = [o for o in outcomes if o.answer is not None]
    if not placed:
        return {}
    size = max(len(o.choices) for o in placed)
    chosen = Counter(o.choice for o in placed if o.choice is not None)
    right = Counter(o.answer for o in placed)
    letters = max(placed, key=lambda o: len(o.choices)).choices
    is_lettered = all(choice.isascii() and choice.isupper() for choice in letters)
    names = letters if is_lettered else [str(n) for n in range(1, size + 1)]
    return {
        name: {"chosen": chosen[i], "right": right[i]}
        for i, name in enumerate(names[:SHOWN_POSITIONS])
    }


def _by_subject(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.question.subject].append(outcome)
    return found


def _mean(outcomes: Sequence[Outcome]) -> float:
    return round(sum(o.correct for o in outcomes) / len(outcomes), 6)


def _score(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return a category's accuracy over its subjects, with its interval."""
    estimate = averaged(outcomes, "macro", categories={})
    return {
        "accuracy": round(estimate.value, 6),
        "low": round(estimate.low, 6),
        "high": round(estimate.high, 6),
        "n": estimate.n,
    }


def _ranked(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    places = [o.ranking.reciprocal_rank for o in outcomes if o.ranking]
    mrr = {"mrr": round(sum(places) / len(places), 6)} if places else {}
    return {"accuracy": _mean(outcomes), **mrr, "n": len(outcomes)}
