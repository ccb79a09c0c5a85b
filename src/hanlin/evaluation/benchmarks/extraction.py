"""Extraction: entities, relations and events that a model finds in texts; strict micro F1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hanlin.core.errors import ConfigError
from hanlin.core.records import Message
from hanlin.data.readers import BadRows
from hanlin.evaluation.benchmark import (
    Benchmark,
    BenchmarkConfig,
    BenchmarkResult,
    Measure,
    Subject,
    chosen_items,
    language_of,
)
from hanlin.evaluation.statistics import Estimate
from hanlin.extraction.extract import extract_each
from hanlin.extraction.facts import Extraction, read_extractions, to_row
from hanlin.extraction.metrics import F1, PARTS, f1
from hanlin.extraction.prompt import format_answer
from hanlin.extraction.schema import Schema, load_schemas, schema_for
from hanlin.inference.engine import Sampling
from hanlin.prompts.encode import encode_prompt, stop_ids

SPARE_TOKENS = 16


def run(config: BenchmarkConfig, subject: Subject, seed: int) -> BenchmarkResult:
    """Extract from every text, greedily, and compare with what is there."""
    gold, schemas = _read(config)
    engine, format = subject.engine, subject.format
    limit = config.max_new_tokens or _longest_answer(gold, schemas, subject)

    def prompt_ids(question: str) -> list[int]:
        return encode_prompt([Message("user", question)], format=format, tokenizer=engine.tokenizer)

    found = extract_each(
        gold,
        schemas=schemas,
        engine=engine,
        prompt_ids=prompt_ids,
        sampling=Sampling(
            max_new_tokens=limit,
            stop=format.stop_strings,
            stop_ids=stop_ids(format, engine.tokenizer),
        ),
    )
    scores = f1(gold, found, seed=seed)
    rows = [_record(wanted, got) for wanted, got in zip(gold, found, strict=True)]
    return BenchmarkResult(
        (_measure(scores["overall"], len(gold)),),
        tuple(rows),
        language_of(config, [example.language for example in gold]),
        samples=tuple(row for row in rows if row["gold"]["entities"]),
        parts={part: _measure(scores[part], len(gold)) for part in PARTS if scores[part].gold},
    )


def _measure(score: F1, texts: int) -> Measure:
    estimate = Estimate(score.f1, score.low, score.high, texts)
    return Measure("f1", estimate, higher_is_better=True)


def _read(config: BenchmarkConfig) -> tuple[list[Extraction], dict[str, Schema]]:
    if config.schema_file is None:
        raise ConfigError(
            f"benchmark {config.id!r} has no schema_file",
            why="extraction needs to know which types are looked for",
            fix="add schema_file: PATH with the types of each language",
        )
    examples = list(read_extractions(config.data, bad=BadRows(config.max_bad_rows)))
    gold = chosen_items(examples, config, languages=[example.language for example in examples])
    schemas = load_schemas(config.schema_file)
    return gold, {e.language: schema_for(schemas, e.language or None) for e in gold}


def _longest_answer(
    gold: Sequence[Extraction], schemas: dict[str, Schema], subject: Subject
) -> int:
    """Return a limit for answers: none of the right ones is cut, a rambling model is stopped."""
    tokenizer = subject.engine.tokenizer
    answers = [format_answer(example, schemas[example.language]) for example in gold]
    longest = max(len(tokenizer.encode(answer, at_start=False)) for answer in answers)
    return longest + longest // 4 + SPARE_TOKENS


def _record(gold: Extraction, found: Extraction) -> dict[str, Any]:
    keys = ("entities", "relations", "events")
    wanted = to_row(gold)
    return {**to_row(found), "gold": {key: wanted[key] for key in keys}}


BENCHMARK = Benchmark(
    summary="F1 of the entities, relations and events that a model extracts.",
    data="extraction examples (JSON lines); needs schema_file",
    run=run,
)
