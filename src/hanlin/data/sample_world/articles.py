"""The sample world as short articles: texts to train on, and texts held out to measure on.

Of every fact one way to say it is kept out of the training articles; the held-out articles are made
of exactly these sentences, so they tell the same facts and share no sentence with the others.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hanlin.data.sample_world.wording import Wording, fill
from hanlin.data.sample_world.world import EXTRACTED, Fact, World, stream

ALIAS_SHARE = 0.15  # articles that give an alias and go on with it
INDEX_SHARE = 0.5  # articles that end with the names in them, sorted by type
MOST_SENTENCES = 6


@dataclass(frozen=True)
class Statement:
    """One sentence of an article and the entities that it names."""

    text: str
    entities: tuple[str, ...]


def write_articles(
    world: World, wording: Wording, *, seed: int, rounds: int
) -> list[dict[str, str]]:
    """Return training articles; each states every fact of its entity, over one or two texts.

    Args:
        world: what is true.
        wording: the language.
        seed: seed of this language's texts.
        rounds: how often each fact is told.
    """
    rng = stream(seed, "articles")
    heard = reserved(world, wording, seed=seed)
    queues = {
        fact: _Queue([i for i in range(_ways(fact, wording)) if i != heard[fact]], rng)
        for fact in world.facts
    }
    texts = []
    for _ in range(rounds):
        for facts in _portions(world, rng):
            said = [(fact, queues[fact].next()) for fact in facts]
            texts.append(_article(said, world=world, wording=wording, rng=rng))
    rng.shuffle(texts)
    return [{"text": text, "language": wording.language} for text in texts]


def write_heldout(world: World, wording: Wording, *, seed: int) -> list[dict[str, str]]:
    """Return articles made of the kept-out sentences, each used once."""
    rng = stream(seed, "heldout")
    heard = reserved(world, wording, seed=seed)
    rows = []
    for facts in _portions(world, rng):
        sentences = [_state(fact, heard[fact], world=world, wording=wording).text for fact in facts]
        rows.append({"text": wording.space.join(sentences), "language": wording.language})
    return rows


def reserved(world: World, wording: Wording, *, seed: int) -> Mapping[Fact, int]:
    """Return for each fact the index of the statement that training never sees."""
    rng = stream(seed, "reserved")
    return {fact: rng.randrange(_ways(fact, wording)) for fact in world.facts}


def _ways(fact: Fact, wording: Wording) -> int:
    return len(wording.statements[fact.relation])


class _Queue:
    """Hands out every value once before any comes again, in a new order each time."""

    def __init__(self, values: Sequence[int], rng: random.Random) -> None:
        self.values, self.rng = list(values), rng
        self.left: list[int] = []

    def next(self) -> int:
        """Return the next value."""
        if not self.left:
            self.left = self.rng.sample(self.values, len(self.values))
        return self.left.pop()


def _portions(world: World, rng: random.Random) -> list[list[Fact]]:
    """Divide all facts into articles of 2 to 6: an entity's own, in random order.

    Entities with a single fact are joined with the next ones of their kind.
    """
    portions: list[list[Fact]] = []
    waiting: list[Fact] = []
    for entity_id in sorted({fact.subject for fact in world.facts}):
        facts = world.about(entity_id)
        rng.shuffle(facts)
        if len(facts) >= 4 and rng.random() < 0.5:
            cut = rng.randint(2, len(facts) - 2)
            portions += [facts[:cut], facts[cut:]]
        elif len(facts) > 1:
            portions.append(facts)
        else:
            waiting += facts
    rng.shuffle(waiting)
    while waiting:
        size = 3 if len(waiting) in (3, 5) else 2
        portions.append(waiting[:size])
        waiting = waiting[size:]
    rng.shuffle(portions)
    return portions


def _article(
    said: Sequence[tuple[Fact, int]], *, world: World, wording: Wording, rng: random.Random
) -> str:
    statements = []
    subjects = {fact.subject for fact, _ in said}
    alias = None
    if len(subjects) == 1 and len(said) < MOST_SENTENCES and rng.random() < ALIAS_SHARE:
        subject = said[0][0].subject
        names = world.entities[subject].names[wording.language]
        alias = rng.choice(names[1:])
        sentence = fill(rng.choice(wording.alias_statements), {"s": names[0], "o": alias})
        statements.append(Statement(sentence.text, (subject,)))
    for fact, way in said:
        name = alias if alias and rng.random() < 0.5 else None
        statements.append(_state(fact, way, world=world, wording=wording, subject=name))
    text = wording.space.join(statement.text for statement in statements)
    if rng.random() < INDEX_SHARE:
        mentioned = [entity for statement in statements for entity in statement.entities]
        text += "\n" + index_lines(mentioned, world=world, wording=wording)
    return text


def _state(
    fact: Fact, way: int, *, world: World, wording: Wording, subject: str | None = None
) -> Statement:
    values = {
        "s": subject or world.name(fact.subject, wording.language),
        "o": world.name(fact.object, wording.language),
    }
    sentence = fill(wording.statements[fact.relation][way], values)
    order = sorted(sentence.slots, key=lambda slot: sentence.slots[slot])
    ids = {"s": fact.subject, "o": fact.object}
    return Statement(sentence.text, tuple(ids[slot] for slot in order))


def index_lines(mentioned: Sequence[str], *, world: World, wording: Wording) -> str:
    """Return one line for each type with the main names of its entities."""
    after_type, between = wording.index_marks
    lines = []
    for kind in EXTRACTED:
        found = [i for i in dict.fromkeys(mentioned) if world.entities[i].kind == kind]
        if found:
            names = between.join(world.name(i, wording.language) for i in found)
            lines.append(f"{wording.kinds[kind]}{after_type}{names}")
    return "\n".join(lines)
