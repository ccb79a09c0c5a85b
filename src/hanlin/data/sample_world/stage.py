"""Stage `sample-world`: make a fictional bilingual encyclopedia and everything the pipeline eats.

Because the world is invented, what a model knows of it it can only have learned here.

    hanlin data world --out world
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field

from hanlin.core.files import write_atomic, write_jsonl
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext, derive_seed
from hanlin.data.sample_world import articles, dialogues, examples, questions
from hanlin.data.sample_world.chinese import CHINESE
from hanlin.data.sample_world.english import ENGLISH
from hanlin.data.sample_world.world import World, build

WORDINGS = (ENGLISH, CHINESE)


class Config(StageConfig):
    """How large the world is and how much is told of it."""

    people: int = Field(default=48, ge=12, le=96)
    """People in the world; towns, rivers, companies, books and festivals grow along (122
    entities and 422 facts for 48 people)."""
    rounds: int = Field(default=10, ge=6, le=1000)
    """How often the articles tell each fact, each time in another way or company."""
    extraction_train: int = Field(default=1500, ge=2)
    """Extraction examples to learn from, both languages together."""
    extraction_test: int = Field(default=150, ge=2)
    """Extraction examples to measure with, both languages together."""


def run(config: Config, context: StageContext) -> None:
    """Write the world below `context.out`."""
    seed = context.stream("world")
    world = build(seed, people=config.people)
    train_facts, test_facts = dialogues.split_facts(world, seed=seed)
    chat: list[dialogues.Conversation] = []
    train: list[examples.Row] = []
    test: list[examples.Row] = []
    schema: dict[str, object] = {}
    for done, wording in enumerate(WORDINGS):
        language, own = wording.language, derive_seed(seed, wording.language)
        context.progress(done, len(WORDINGS), f"writing {language}")
        texts = articles.write_articles(world, wording, seed=own, rounds=config.rounds)
        write_jsonl(context.out / "corpus" / f"{language}.jsonl", texts)
        texts = articles.write_heldout(world, wording, seed=own)
        write_jsonl(context.out / "heldout" / f"{language}.jsonl", texts)
        chat += dialogues.write_conversations(world, wording, seed=own, facts=train_facts)
        for name, options in (("four", 4), ("fifty", 50)):
            rows = questions.write_questions(
                world, wording, seed=own, facts=test_facts, options=options
            )
            write_jsonl(context.out / "questions" / f"{name}-{language}.jsonl", rows)
        learn, measure = examples.write_examples(
            world,
            wording,
            seed=own,
            train=config.extraction_train // 2,
            test=config.extraction_test // 2,
        )
        train, test = train + learn, test + measure
        schema[language] = examples.schema_of(wording)
    write_jsonl(context.out / "chat.jsonl", chat)
    write_jsonl(context.out / "extraction" / "train.jsonl", train)
    write_jsonl(context.out / "extraction" / "test.jsonl", test)
    text = yaml.safe_dump(schema, allow_unicode=True, sort_keys=False)
    write_atomic(context.out / "extraction" / "schema.yaml", text.encode())
    _write_graph(world, context.out / "graph")
    context.progress(len(WORDINGS), len(WORDINGS), f"{len(world.facts)} facts")


def _write_graph(world: World, folder: Path) -> None:
    """Write facts as triples (years as literals) and the names of everything else."""
    kinds = {wording.language: wording.kinds for wording in WORDINGS}
    triples, aliases = [], []
    for fact in world.facts:
        is_literal = world.entities[fact.object].kind == "year"
        tail = world.name(fact.object, "en") if is_literal else fact.object
        triples.append(f"{fact.subject}\t{fact.relation}\t{tail}\n")
    for entity in world.entities.values():
        if entity.kind != "year":
            for language in sorted(entity.names):
                label = kinds[language][entity.kind]
                names = entity.names[language]
                aliases += [f"{entity.id}\t{language}\t{label}\t{name}\n" for name in names]
    write_atomic(folder / "triples.tsv", "".join(triples).encode())
    write_atomic(folder / "aliases.tsv", "".join(aliases).encode())


def estimate(config: Config) -> Estimate:
    """Expect a few megabytes and seconds."""
    return Estimate(disk_bytes=config.people * config.rounds * 5_000, seconds=2.0)


STAGE = Stage(
    summary="make a small invented world: texts, dialogues, questions, extraction examples",
    config=Config,
    run=run,
    outputs={
        "corpus": ("corpus", "corpus"),
        "heldout": ("corpus", "heldout"),
        "chat": ("conversations", "chat.jsonl"),
        "questions": ("questions", "questions"),
        "extraction": ("extraction-examples", "extraction"),
        "graph": ("knowledge-graph", "graph"),
    },
    estimate=estimate,
)
