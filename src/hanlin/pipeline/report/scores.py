"""What did evaluation find? Reads scores.json row by row; a bad row is noted, not fatal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hanlin.pipeline.report.card import (
    Dialogue,
    Entity,
    Evaluation,
    Event,
    ExtractionSample,
    Facts,
    Relation,
    Score,
    ScoreRow,
)

T = TypeVar("T")
_SCORE = TypeAdapter(Score)
_ROW = TypeAdapter(ScoreRow)
_ENTITY = TypeAdapter(Entity)


def evaluation(document: object, *, stage: str, notes: list[str]) -> Evaluation | None:
    """Turn one scores.json into records; add what could not be read to `notes`."""
    if not isinstance(document, dict):
        notes.append(f"{stage}: scores.json holds no scores")
        return None
    rows = _each(document, "rows", _row, stage=stage, notes=notes)
    models = document.get("models")
    names = [str(name) for name in models] if isinstance(models, list) else []
    names += [name for row in rows for name in row.scores]
    models = tuple(dict.fromkeys(names))

    def dialogue(item: dict[str, Any]) -> Dialogue:
        answers = {name: str(item[name]) for name in models if item.get(name) is not None}
        return Dialogue(str(item.get("language") or ""), _prompt(item["prompt"]), answers)

    return Evaluation(
        stage=stage,
        models=models,
        rows=rows,
        dialogues=_each(document, "dialogues", dialogue, stage=stage, notes=notes),
        extractions=_each(document, "extractions", _extraction, stage=stage, notes=notes),
    )


def _each(
    document: dict[str, Any],
    key: str,
    read: Callable[[dict[str, Any]], T],
    *,
    stage: str,
    notes: list[str],
) -> tuple[T, ...]:
    items = document.get(key)
    found = []
    for number, item in enumerate(items if isinstance(items, list) else [], 1):
        try:
            if not isinstance(item, dict):
                raise TypeError(f"expected an object, got {type(item).__name__}")
            found.append(read(item))
        except (AttributeError, KeyError, TypeError, ValidationError) as error:
            notes.append(f"{stage}: {key} {number} of scores.json was left out: {_reason(error)}")
    return tuple(found)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _row(item: dict[str, Any]) -> ScoreRow:
    scores = item["scores"]
    if not isinstance(scores, dict):
        raise TypeError("its scores are no object")
    read = {name: _SCORE.validate_python(s) for name, s in scores.items() if s is not None}
    benchmark = str(item["benchmark"])
    defaults = {"label": benchmark, "language": "", "chance": None, "higher_is_better": True}
    given = {key: value for key, value in item.items() if value is not None}
    categories = {
        model: {name: {**score, "value": score["accuracy"]} for name, score in found.items()}
        for model, found in given.get("categories", {}).items()
    }
    values = {"benchmark": benchmark, "scores": read, "categories": categories}
    return _ROW.validate_python({**defaults, **given, **values})


def _prompt(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"prompt is no text but {type(value).__name__}")
    return value


def _extraction(item: dict[str, Any]) -> ExtractionSample:
    gold = item.get("gold")
    return ExtractionSample(
        text=_prompt(item["text"]),
        language=str(item.get("language") or ""),
        found=_facts(item),
        gold=_facts(gold) if isinstance(gold, dict) else None,
    )


def _facts(item: dict[str, Any]) -> Facts:
    entities = [_ENTITY.validate_python(entity) for entity in item.get("entities") or []]
    relations = [
        Relation(
            str(relation.get("type", "")),
            _named(relation.get("head"), entities),
            _named(relation.get("tail"), entities),
        )
        for relation in item.get("relations") or []
    ]
    events = [_event(event, entities) for event in item.get("events") or []]
    return Facts(tuple(entities), tuple(relations), tuple(events))


def _event(item: dict[str, Any], entities: list[Entity]) -> Event:
    arguments = [
        (str(argument.get("role", "")), _named(argument.get("entity"), entities))
        for argument in item.get("arguments") or []
    ]
    return Event(str(item.get("type", "")), _named(item.get("trigger"), entities), tuple(arguments))


def _named(reference: object, entities: list[Entity]) -> str:
    """Return the text that an index, a text or an object with a text stands for; "" for none."""
    if isinstance(reference, int) and not isinstance(reference, bool):
        return entities[reference].text if 0 <= reference < len(entities) else ""
    if isinstance(reference, dict):
        return str(reference.get("text", ""))
    return "" if reference is None else str(reference)
