"""What does it cost to hold a model to the schema, and does every answer parse then?

    python benchmarks/extraction.py RUN

RUN is a finished quickstart (`hanlin run quickstart`). Its model extracts from at least 500 unseen
sentences (test examples, asked again until there are 500), freely and held to its schema (`lines`,
names free or parts of the text; with the text each sentence once). The same batches, in turns.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.extraction.facts import Extraction, read_extractions
from hanlin.extraction.metrics import f1
from hanlin.extraction.schema import load_schemas
from hanlin.inference.engine import open_engine
from hanlin.pipeline.extraction import Settings, open_extractor

RESULT = Path(__file__).parent / "results" / "extraction.json"
OUTPUTS = 500
ROUNDS = 2  # turns of each way but `text`, the fastest counts
BATCH = 32


def measure(extractor: Any, given: list[Extraction]) -> tuple[list[Extraction], float]:  # noqa: ANN401
    """Return what is found, and the seconds that it took."""
    start = time.perf_counter()
    found = [
        one for at in range(0, len(given), BATCH) for one in extractor.batch(given[at : at + BATCH])
    ]
    return found, time.perf_counter() - start


def main() -> None:
    """Measure each way in turn, print and write the results."""
    run = Path(sys.argv[1])
    gold = list(read_extractions(run / "world" / "extraction" / "test.jsonl"))
    schemas = load_schemas(run / "world" / "extraction" / "schema.yaml")
    engine = open_engine(str(run))
    results: dict[str, Any] = {}
    for language in schemas:
        own = [one for one in gold if one.language == language]
        given = list(islice(cycle(own), OUTPUTS // len(schemas)))
        seconds: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            for way in ("off", "schema", "text") if not number else ("off", "schema"):
                extractor = open_extractor(engine, schemas, Settings(constrain=way))
                asked = own if way == "text" else given
                found, taken = measure(extractor, asked)
                seconds.setdefault(way, []).append(taken)
                scores = f1(own, found[: len(own)], samples=1000)
                results[f"{language}, {way}"] = {
                    "outputs": len(found),
                    "that parse": sum(not one.unreadable for one in found),
                    "not in the text": sum(m.start is None for o in found for m in o.entities),
                    "texts_per_s": len(found) / min(seconds[way]),
                    "f1": {
                        part: asdict(score) | {"f1": score.f1} for part, score in scores.items()
                    },
                }
        for way in ("schema", "text"):
            free, held = (results[f"{language}, {w}"]["texts_per_s"] for w in ("off", way))
            results[f"{language}, {way}"]["speed against free"] = held / free
    write_json(RESULT, {"machine": environment.describe(), "results": results})
    for name, result in results.items():
        shown = {key: value for key, value in result.items() if key != "f1"}
        parts = {part: round(score["f1"], 3) for part, score in result["f1"].items()}
        print(name, json.dumps(shown, ensure_ascii=False), parts)


if __name__ == "__main__":
    main()
