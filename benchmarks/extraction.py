"""What does it cost to hold a model to the schema, and does every answer parse then?

    python benchmarks/extraction.py RUN

RUN is a finished quickstart (`hanlin run quickstart`). Its model extracts from unseen sentences
(test examples, asked again until there are 500): freely; held to its schema (`lines`), greedy,
drawn and with beams; and, each sentence once, with names that are parts of the text. Each batch is
answered freely and held, one right after the other, in turns first. A batch takes as many steps as
its longest answer has tokens, and the answers are not the same: so speed is steps per second.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.extraction.extract import Extractor
from hanlin.extraction.facts import Extraction, read_extractions
from hanlin.extraction.metrics import f1
from hanlin.extraction.schema import load_schemas
from hanlin.inference.engine import Engine, Generation, Sampling, open_engine
from hanlin.pipeline.extraction import Constrain, Settings, open_extractor

RESULT = Path(__file__).parent / "results" / "extraction.json"
OUTPUTS, BEAM_OUTPUTS = 500, 64
BATCH = 32
BEAMS = {"num_beams": 3}
DRAWN = {"temperature": 1.0, "seed": 1}
Run = Callable[[Constrain, dict[str, Any]], "Way"]


class Counting:
    """An engine that counts the steps of its batches."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.steps = engine, 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else the engine has
        return getattr(self.engine, name)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return what the engine does."""
        return self.counted(self.engine.generate(prompts, sampling))

    def counted(self, found: list[Generation]) -> list[Generation]:
        """Count the steps of answers that were made together."""
        self.steps += max(len(one.ids) for one in found)
        return found


def batches(given: Sequence[Extraction]) -> list[Sequence[Extraction]]:
    """Return texts as they are answered together."""
    return [given[at : at + BATCH] for at in range(0, len(given), BATCH)]


@dataclass
class Way:
    """A way to ask the model, and what it took.

    Attributes:
        extractor: asks.
        engine: counts.
        found: all extractions.
        seconds: of each batch.
        steps: of each batch.
    """

    extractor: Extractor[Sampling]
    engine: Counting
    found: list[Extraction] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def answer(self, batch: Sequence[Extraction]) -> None:
        """Answer a batch."""
        start, before = time.perf_counter(), self.engine.steps
        self.found += self.extractor.batch(batch)
        self.seconds.append(time.perf_counter() - start)
        self.steps.append(self.engine.steps - before)

    @property
    def steps_per_s(self) -> float:
        """Return the speed over all batches."""
        return sum(self.steps) / sum(self.seconds)


def side_by_side(free: Way, held: Way, given: Sequence[Extraction]) -> None:
    """Answer each batch both ways."""
    for number, batch in enumerate(batches(given)):
        for way in (free, held) if number % 2 else (held, free):
            way.answer(batch)


def summary(found: Sequence[Extraction], own: Sequence[Extraction]) -> dict[str, Any]:
    """Return how many answers parse, what is not in the text, and F1 over each sentence once."""
    scores = f1(own, found[: len(own)], samples=1000)
    return {
        "outputs": len(found),
        "that parse": sum(not one.unreadable for one in found),
        "not in the text": sum(m.start is None for one in found for m in one.entities),
        "f1": {part: asdict(score) | {"f1": score.f1} for part, score in scores.items()},
    }


def measure(run: Run, own: Sequence[Extraction], outputs: int) -> dict[str, Any]:
    """Return the result of each way, for the sentences of one language."""
    given = list(islice(cycle(own), outputs))
    side_by_side(run("off", {}), run("schema", {}), given[:BATCH])  # grammars are compiled now
    results: dict[str, Any] = {}
    for name, texts in (("schema", given), ("text", own)):
        free, held = run("off", {}), run(name, {})
        side_by_side(free, held, texts)
        for way, one in (("off", free), (name, held)):
            results.setdefault(way, summary(one.found, own) | {
                "texts_per_s": len(texts) / sum(one.seconds), "steps_per_s": one.steps_per_s,
            })  # fmt: skip
        ratios = [
            (free.seconds[n] / free.steps[n]) / (held.seconds[n] / held.steps[n])
            for n in range(len(held.steps))
        ]
        results[name]["speed against free"] = held.steps_per_s / free.steps_per_s
        results[name]["median of batches"] = median(ratios)
    for name, settings, count in (("drawn", DRAWN, outputs), ("beams", BEAMS, BEAM_OUTPUTS)):
        way = run("schema", settings)
        for batch in batches(given[:count]):
            way.answer(batch)
        results[f"schema, {name}"] = {
            "outputs": len(way.found), "that parse": sum(not one.unreadable for one in way.found),
        }  # fmt: skip
    return results


def main() -> None:
    """Measure both languages, print and write the results."""
    folder = Path(sys.argv[1])
    gold = list(read_extractions(folder / "world" / "extraction" / "test.jsonl"))
    schemas = load_schemas(folder / "world" / "extraction" / "schema.yaml")
    engine = open_engine(str(folder))

    def run(way: Constrain, more: dict[str, Any]) -> Way:
        counting = Counting(engine)
        made = open_extractor(counting, schemas, Settings(constrain=way))
        each = made.generate_each
        made = replace(
            made,
            sampling=lambda q, text, own=made.sampling: replace(own(q, text), **more),
            generate_each=each and (lambda prompts, how: counting.counted(each(prompts, how))),
        )
        return Way(made, counting)

    results = {}
    for language in schemas:
        own = [one for one in gold if one.language == language]
        for way, result in measure(run, own, OUTPUTS // len(schemas)).items():
            results[f"{language}, {way}"] = result
            shown = {key: value for key, value in result.items() if key != "f1"}
            parts = {part: round(s["f1"], 3) for part, s in result.get("f1", {}).items()}
            print(language, way, json.dumps(shown, ensure_ascii=False), parts, flush=True)
    write_json(RESULT, {"machine": environment.describe(), "results": results})


if __name__ == "__main__":
    main()
