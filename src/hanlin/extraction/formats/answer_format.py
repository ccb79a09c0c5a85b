"""What is a form of answers? It asks, writes what is known as an answer, and reads answers.

    form = FORMATS.get("iepile")
    for question in form.ask(text, schema, Asking()):
        answer = ...  # of a model that is asked question.prompt; for training: write_answer(...)
        parsed = form.read(answer, question)

One text can take several questions: one for each task (entities, relations, ...) and, where a form
splits the schema, for each part of the types. `merged` puts what was read together again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hanlin.extraction.facts import Extraction
from hanlin.extraction.parse import NamedEvent, NamedRelation, Parsed
from hanlin.extraction.schema import Schema

# NER entities; RE relations, SPO with the types of their ends; EE events, EET their triggers, EEA
# the arguments of known triggers; KG entities with attributes; all: everything in one answer.
Task = Literal["all", "NER", "RE", "SPO", "EE", "EET", "EEA", "KG"]


@dataclass(frozen=True)
class Asking:
    """How a text is asked about.

    Attributes:
        tasks: what for; () for all that the schema has types for.
        template: which of the form's wordings, from 0; more than it has begin again.
        types_at_once: types in one question, for forms that split the schema; None as published.
        gold: what is known, for tasks that tell a part of it (EEA tells the triggers).
    """

    tasks: tuple[Task, ...] = ()
    template: int = 0
    types_at_once: int | None = None
    gold: Extraction | None = None


@dataclass(frozen=True)
class Question:
    """One question about a text: for which task and types, and the words of the user's message."""

    task: Task
    schema: Schema
    prompt: str


@dataclass(frozen=True)
class AnswerFormat:
    """A form of answers.

    Attributes:
        name: in the table.
        tasks: what it has words for.
        ask: (text, schema, asking) -> questions.
        write: (what is known, question) -> answer; `write_answer` checks that it reads back.
        read: (answer, question) -> what it says; never fails, whatever a model wrote.
    """

    name: str
    tasks: tuple[Task, ...]
    ask: Callable[[str, Schema, Asking], list[Question]]
    write: Callable[[Extraction, Question], str]
    read: Callable[[str, Question], Parsed]


def tasks_of(schema: Schema, asking: Asking, known: Sequence[Task]) -> list[Task]:
    """Return the tasks that are asked for: the ones wanted, or those that the schema has types for.

    Raises:
        ValueError: the form has no words for a task, or the schema no types for any.
    """
    for task in asking.tasks:
        if task not in known:
            raise ValueError(f"there is no task {task}; this form has {', '.join(known)}")
    relations: Task = "RE"
    if "SPO" in known and all(all(ends) for ends in schema.relations.values()):
        relations = "SPO"
    own: list[tuple[Task, object]] = [
        ("NER", schema.entities),
        (relations, schema.relations),
        ("EE", schema.events),
        ("KG", schema.attributes),
    ]
    found = [task for task, types in own if types and task in known]
    tasks = list(asking.tasks) or found
    if not tasks:
        raise ValueError(f"the schema has no types for {', '.join(known)}")
    return tasks


def said(known: Extraction, question: Question) -> Parsed:
    """Return what a perfect answer to a question says, of all that is known of its text."""
    task, schema = question.task, question.schema
    has = {
        "entities": task in ("all", "NER"),
        "relations": task in ("all", "RE", "SPO"),
        "events": task in ("all", "EE", "EET", "EEA"),
    }
    pairs = schema.relations if has["relations"] else {}
    own = {name for names in schema.attributes.values() for name in names}
    relations = [
        NamedRelation(r.type, known.named(r.head), known.named(r.tail))
        for r in known.relations
        if r.type in pairs
        or (task == "all" and (r.type in own or schema.is_open))
        or (task == "KG" and _is_attribute(r.type, known.entities[r.head].type, schema, own))
    ]
    types = {*schema.entities, *schema.attributes} if task == "all" else set(schema.entities)
    entities = [(e.type, e.text) for e in known.entities if has["entities"] and e.type in types]
    events = [
        NamedEvent(
            event.type,
            event.trigger.text,
            () if task == "EET" else tuple((role, known.named(i)) for role, i in event.arguments),
        )
        for event in known.events
        if has["events"] and event.type in schema.events
    ]
    return Parsed(tuple(entities), tuple(relations), tuple(events))


def _is_attribute(name: str, head: str, schema: Schema, own: set[str]) -> bool:
    """Tell whether a relation is an attribute of one of the schema's types (or of none known)."""
    if head in schema.attributes:
        return name in schema.attributes[head] or not schema.attributes[head]
    return not head and name in own


def write_answer(form: AnswerFormat, known: Extraction, question: Question) -> str:
    """Write the perfect answer, and make sure that it reads back as what was meant.

    Raises:
        ValueError: the form cannot say it (a mark of its own in a name, for example).
    """
    answer = form.write(known, question)
    meant, read = said(known, question), form.read(answer, question)
    if read.unread or counts(meant) != counts(_without_implied(read, question)):
        raise ValueError(f"the form {form.name} cannot say this: {answer[:200]!r}")
    return answer


def counts(parsed: Parsed) -> Counter[object]:
    """Return all that was said as a bag: order does not matter, number does."""
    events = [(e.type, e.trigger, *sorted(e.arguments)) for e in parsed.events]
    return Counter([*parsed.entities, *parsed.relations, *events])


def _without_implied(read: Parsed, question: Question) -> Parsed:
    """Leave out the entities that an answer about attributes names besides."""
    return Parsed((), read.relations, read.events) if question.task == "KG" else read


def merged(parts: Iterable[tuple[Question, Parsed]]) -> Parsed:
    """Put the answers to the questions about one text together.

    Entities that only carry attributes are added where no question for entities named them.
    """
    entities: list[tuple[str, str]] = []
    spans: list[tuple[int, int] | None] = []
    implied: list[tuple[str, str]] = []
    relations: list[NamedRelation] = []
    events: list[NamedEvent] = []
    unread: list[str] = []
    for question, parsed in parts:
        if question.task == "KG":
            implied += parsed.entities
        else:
            entities += parsed.entities
            spans += parsed.spans or [None] * len(parsed.entities)
        relations += parsed.relations
        events += parsed.events
        unread += parsed.unread
    named = {name for _, name in entities}
    added = [item for item in dict.fromkeys(implied) if item[1] not in named]
    return Parsed(
        (*entities, *added),
        tuple(relations),
        tuple(events),
        tuple(unread),
        (*spans, *[None] * len(added)),
    )
