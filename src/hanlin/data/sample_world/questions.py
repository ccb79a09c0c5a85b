"""The sample world as multiple-choice questions about the facts that training never asked for."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hanlin.data.sample_world.dialogues import ask
from hanlin.data.sample_world.wording import Wording
from hanlin.data.sample_world.world import Fact, World, stream


def write_questions(
    world: World, wording: Wording, *, seed: int, facts: Sequence[Fact], options: int
) -> list[dict[str, object]]:
    """Return one question for each fact, the right answer at a uniformly random place.

    Args:
        world: what is true.
        wording: the language.
        seed: seed of the questions; each one's own is derived from it and its id.
        facts: what is asked.
        options: how many there are to choose from: values of the same relation, and where those
            do not suffice others of the same kind, then other names of the world.
    """
    rows: list[dict[str, object]] = []
    for fact in facts:
        identity = f"{wording.language}-{fact.relation}-{fact.subject}"
        rng = stream(seed, f"{identity}/{options}")
        question, right = ask(fact, rng.randrange(100), world=world, wording=wording)
        wrong = _wrong_options(fact, world=world, language=wording.language, rng=rng)
        chosen = wrong[: options - 1]
        rng.shuffle(chosen)
        answer = rng.randrange(len(chosen) + 1)
        chosen.insert(answer, right)
        rows.append(
            {
                "id": identity,
                "question": question,
                "options": chosen,
                "answer": answer,
                "subject": fact.relation,
                "language": wording.language,
            }
        )
    return rows


def _wrong_options(fact: Fact, *, world: World, language: str, rng: random.Random) -> list[str]:
    """Return all wrong values: the relation's own first, then its kind's, then other names.

    Only what the texts speak of is offered; a year only where a year is asked for.
    """
    kind = world.entities[fact.object].kind
    own = {other.object for other in world.facts if other.relation == fact.relation}
    groups: tuple[list[str], ...] = ([], [], [])
    told = {name for other in world.facts for name in (other.subject, other.object)}
    for entity in world.entities.values():
        if entity.id not in told or (entity.kind == "year" and kind != "year"):
            continue
        group = 0 if entity.id in own else 1 if entity.kind == kind else 2
        groups[group].append(entity.names[language][0])
    ordered = [name for group in groups for name in rng.sample(group, len(group))]
    right = world.name(fact.object, language)
    return [name for name in dict.fromkeys(ordered) if name != right]
