"""The sample world as extraction examples: entities, relations and events with exact spans.

Training and test tell different facts: of about a third of the subjects all facts but one are kept
for the test, so its sentences join names that stand together in no training sentence.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.data.sample_world.wording import Wording, fill, slots_of
from hanlin.data.sample_world.world import EXTRACTED, RELATIONS, Fact, World, stream

TEST_SUBJECTS = 0.35
ALIAS_SHARE = 0.08  # sentences that call their subject by an alias
JOINED_SHARE = 0.1  # texts of two sentences
IDLE_SHARE = 0.03  # texts with nothing in them

Row = dict[str, Any]


def schema_of(wording: Wording) -> dict[str, Any]:
    """Return the types that the examples of one language use."""
    kinds = wording.kinds
    return {
        "instruction": wording.instruction,
        "entities": [kinds[kind] for kind in EXTRACTED],
        "relations": {
            label: [kinds[RELATIONS[relation].subject], kinds[RELATIONS[relation].object]]
            for relation, label in wording.relations.items()
        },
        "events": {
            event.label: {"roles": [event.subject_role, *event.roles.values()]}
            for event in wording.events.values()
        },
    }


def write_examples(
    world: World, wording: Wording, *, seed: int, train: int, test: int
) -> tuple[list[Row], list[Row]]:
    """Return training and test examples; no sentence and no fact stands in both."""
    rng = stream(seed, "examples")
    kept = _test_facts(world, wording, rng)
    sentences: dict[bool, list[Row]] = {True: [], False: []}
    for kind, frames in wording.frames.items():
        for entity in world.of_kind(kind):
            facts = {fact.relation: fact for fact in world.about(entity.id)}
            for frame in frames:
                told = [facts[slot] for slot in slots_of(frame) if slot != "s"]
                if len({fact in kept for fact in told}) == 1:
                    row = _sentence(frame, told, world=world, wording=wording, rng=rng)
                    sentences[told[0] in kept].append(row)
    halves = (("train", train, False), ("test", test, True))
    return tuple(  # type: ignore[return-value]
        _compose(sentences[is_test], count, name=name, wording=wording, rng=rng)
        for name, count, is_test in halves
    )


def _test_facts(world: World, wording: Wording, rng: random.Random) -> set[Fact]:
    told = {slot for frames in wording.frames.values() for f in frames for slot in slots_of(f)}
    kept: set[Fact] = set()
    for kind in wording.frames:
        subjects = world.of_kind(kind)
        for entity in rng.sample(subjects, max(1, round(TEST_SUBJECTS * len(subjects)))):
            facts = [fact for fact in world.about(entity.id) if fact.relation in told]
            rng.shuffle(facts)
            kept.update(facts[1:] or facts)
    return kept


def _sentence(
    frame: str, told: Sequence[Fact], *, world: World, wording: Wording, rng: random.Random
) -> Row:
    """Fill a frame and note what is in it; entities are in the order of the text."""
    language, subject = wording.language, world.entities[told[0].subject]
    names = subject.names[language]
    values = {fact.relation: world.name(fact.object, language) for fact in told}
    values["s"] = rng.choice(names[1:]) if rng.random() < ALIAS_SHARE else names[0]
    filled = fill(frame, values)
    kinds = {fact.relation: world.entities[fact.object].kind for fact in told}
    kinds["s"] = subject.kind
    order = sorted((slot for slot in filled.slots if slot in kinds), key=filled.slots.__getitem__)
    at = {slot: index for index, slot in enumerate(order)}
    return {
        "text": filled.text,
        "entities": [
            {"text": values[slot], "type": wording.kinds[kinds[slot]], **_span(filled.slots[slot])}
            for slot in order
        ],
        "relations": [
            {"type": wording.relations[slot], "head": at["s"], "tail": at[slot]}
            for slot in order
            if slot in wording.relations
        ],
        "events": _events(filled.text, filled.slots, at=at, wording=wording, kind=subject.kind),
    }


def _span(place: tuple[int, int]) -> dict[str, int]:
    return {"start": place[0], "end": place[1]}


def _events(
    text: str,
    slots: Mapping[str, tuple[int, int]],
    *,
    at: Mapping[str, int],
    wording: Wording,
    kind: str,
) -> list[Row]:
    if "trigger" not in slots:
        return []
    event, (start, end) = wording.events[kind], slots["trigger"]
    arguments = [{"role": event.subject_role, "entity": at["s"]}]
    arguments += [{"role": role, "entity": at[r]} for r, role in event.roles.items() if r in at]
    trigger = {"text": text[start:end], "start": start, "end": end}
    return [{"type": event.label, "trigger": trigger, "arguments": arguments}]


def _compose(
    sentences: list[Row], count: int, *, name: str, wording: Wording, rng: random.Random
) -> list[Row]:
    """Make `count` different texts (fewer where the sentences run out) of one or two sentences."""
    left = rng.sample(sentences, len(sentences))
    singles, rows = list(left), list[Row]()
    seen: set[str] = set()
    openings, ends = wording.idle
    own_ends = ends[-3:] if name == "test" else ends[:-3]
    idle = [opening + end for opening in openings for end in own_ends]
    rng.shuffle(idle)
    while left and len(rows) < count:
        if idle and rng.random() < IDLE_SHARE:
            row: Row = {"text": idle.pop(), "entities": [], "relations": [], "events": []}
        elif rng.random() < JOINED_SHARE:
            row = _join(left.pop(), rng.choice(singles), space=wording.space)
        else:
            row = left.pop()
        if row["text"] not in seen:
            seen.add(row["text"])
            identity = f"{name}-{wording.language}-{len(rows) + 1:04d}"
            rows.append({"id": identity, "text": row["text"], "language": wording.language, **row})
    return rows


def _join(first: Row, second: Row, *, space: str) -> Row:
    """Put two sentences side by side and move the second one's spans and indices."""
    shift, count = len(first["text"]) + len(space), len(first["entities"])

    def moved(span: Row) -> Row:
        return {**span, "start": span["start"] + shift, "end": span["end"] + shift}

    return {
        "text": first["text"] + space + second["text"],
        "entities": [*first["entities"], *map(moved, second["entities"])],
        "relations": first["relations"]
        + [
            {**relation, "head": relation["head"] + count, "tail": relation["tail"] + count}
            for relation in second["relations"]
        ],
        "events": first["events"]
        + [
            {
                **event,
                "trigger": moved(event["trigger"]),
                "arguments": [{**a, "entity": a["entity"] + count} for a in event["arguments"]],
            }
            for event in second["events"]
        ],
    }
