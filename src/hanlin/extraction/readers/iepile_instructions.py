"""IEPile's instructions: {"task", "instruction": JSON text, "output": JSON text}.

Each row is one example: what its output says about its input, for the types of its own schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from hanlin.data.readers import BadRows
from hanlin.data.readers.bio import UNSPACED
from hanlin.extraction.align import align
from hanlin.extraction.facts import Extraction
from hanlin.extraction.formats.answer_format import Question, Task
from hanlin.extraction.formats.iepile import TASKS
from hanlin.extraction.formats.iepile_answer import read_answer
from hanlin.extraction.readers.rows import read_rows
from hanlin.extraction.schema import EventType, Schema


def read_iepile(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield what each row says; a row whose output cannot be read in full is a bad row."""
    return read_rows(path, bad, _example)


def question_of(row: Mapping[str, Any]) -> Question:
    """Return the question that a row asks, with the schema of its types.

    Raises:
        ValueError: the row has no such task or its instruction is not IEPile's JSON.
    """
    if row["task"] not in TASKS:
        raise ValueError(f"there is no task {row['task']!r}")
    given = json.loads(row["instruction"])
    is_chinese = any(UNSPACED.match(character) for character in given["input"])
    schema = _schema(row["task"], given["schema"], "zh" if is_chinese else "en")
    return Question(cast(Task, row["task"]), schema, row["instruction"])


def _schema(task: str, types: list[Any], language: str) -> Schema:
    if task == "NER":
        return Schema(language=language, entities=types)
    if task == "RE":
        return Schema.model_validate({"relations": types}).model_copy(update={"language": language})
    if task == "SPO":
        ends = [end for item in types for end in (item["subject_type"], item["object_type"])]
        relations = {
            item["predicate"]: (item["subject_type"], item["object_type"]) for item in types
        }
        return Schema(language=language, entities=list(dict.fromkeys(ends)), relations=relations)
    if task == "KG":
        attributes = {item["entity_type"]: list(item["attributes"]) for item in types}
        return Schema(language=language, attributes=attributes)
    if task == "EET":
        return Schema(language=language, events={name: EventType() for name in types})
    events = {
        item["event_type"]: EventType(roles=item["arguments"], trigger=bool(item["trigger"]))
        for item in types
    }
    return Schema(language=language, events=events)


def _example(row: Mapping[str, Any], id_: str) -> Extraction:
    question = question_of(row)
    parsed = read_answer(row["output"], question)
    if parsed.unread:
        raise ValueError(f"the output says what the schema does not have: {parsed.unread[0]}")
    text = json.loads(row["instruction"])["input"]
    return align(parsed, text, id=id_, language=question.schema.language)
