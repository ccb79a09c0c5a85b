"""The sample world as conversations: which facts may be asked in training, and the dialogues."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from hanlin.data.sample_world.articles import reserved
from hanlin.data.sample_world.wording import Wording, fill
from hanlin.data.sample_world.world import RELATIONS, Fact, World, stream

MOST_TURNS = 4
DESCRIPTIONS = 40
SMALLTALK_COPIES = 20  # of each exchange, so that a small model does not forget them

Turn = tuple[str, str]
Conversation = dict[str, list[dict[str, str]]]


def split_facts(world: World, *, seed: int) -> tuple[list[Fact], list[Fact]]:
    """Divide the facts of every relation in two halves: asked in training, asked in the test.

    Facts with the same object go to both halves in turn, so that training does not make the
    objects of one half look likelier than those of the other.
    """
    rng = stream(seed, "split")
    halves: tuple[list[Fact], list[Fact]] = ([], [])
    for relation in RELATIONS:
        facts = [fact for fact in world.facts if fact.relation == relation]
        rng.shuffle(facts)
        facts.sort(key=lambda fact: fact.object)
        for index, fact in enumerate(facts):
            halves[index % 2].append(fact)
    return halves


def ask(fact: Fact, way: int, *, world: World, wording: Wording) -> Turn:
    """Return a question about a fact, and the answer: nothing but the object's name."""
    questions = wording.questions[fact.relation]
    subject = world.name(fact.subject, wording.language)
    question = fill(questions[way % len(questions)], {"s": subject}).text
    return question, world.name(fact.object, wording.language)


def write_conversations(
    world: World, wording: Wording, *, seed: int, facts: Sequence[Fact]
) -> list[Conversation]:
    """Return conversations of one to four turns that ask each fact in every way once."""
    rng = stream(seed, "conversations")
    turns = [
        ask(fact, way, world=world, wording=wording)
        for fact in facts
        for way in range(len(wording.questions[fact.relation]))
    ]
    turns += [exchange for exchange in wording.smalltalk for _ in range(SMALLTALK_COPIES)]
    heard = reserved(world, wording, seed=seed)
    turns += _descriptions(world, wording, facts=facts, heard=heard, rng=rng)
    rng.shuffle(turns)
    conversations = []
    while turns:
        length = rng.choice((1, 1, 2, 3, MOST_TURNS))
        conversations.append(_conversation(turns[:length]))
        turns = turns[length:]
    return conversations


def _descriptions(
    world: World,
    wording: Wording,
    *,
    facts: Sequence[Fact],
    heard: Mapping[Fact, int],
    rng: random.Random,
) -> list[Turn]:
    """Return requests for a description, answered with facts and sentences of the training half."""
    by_subject: dict[str, list[Fact]] = {}
    for fact in facts:
        by_subject.setdefault(fact.subject, []).append(fact)
    able = sorted(subject for subject, own in by_subject.items() if len(own) > 1)
    turns = []
    for subject in rng.sample(able, min(DESCRIPTIONS, len(able))):
        name = world.name(subject, wording.language)
        sentences = [
            fill(wording.statements[fact.relation][1 if heard[fact] == 0 else 0],
                 {"s": name, "o": world.name(fact.object, wording.language)}).text
            for fact in by_subject[subject][:2]
        ]  # fmt: skip
        request = fill(rng.choice(wording.describe), {"s": name}).text
        turns.append((request, wording.space.join(sentences)))
    return turns


def _conversation(turns: Sequence[Turn]) -> Conversation:
    messages = []
    for question, answer in turns:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages}
