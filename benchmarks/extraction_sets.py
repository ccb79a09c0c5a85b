"""Does every row of every public set survive every form? Written, read, grounded, scored.

    python benchmarks/extraction_sets.py

Each example is asked in each form with the types that it uses; the answer that says it is written,
read back and found in the text. A form that cannot say a name refuses it: that is counted.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.data.readers import BadRows
from hanlin.extraction.align import align
from hanlin.extraction.facts import Extraction
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import AnswerFormat, Asking, merged, write_answer
from hanlin.extraction.metrics import f1
from hanlin.extraction.readers import read_set
from hanlin.extraction.schema_from import schema_of

DATA = Path(os.environ.get("HANLIN_DATA", Path(__file__).parents[2] / "shared" / "data"))
RESULT = Path(__file__).parent / "results" / "extraction_sets.json"
SUFFIXES = (".jsonl", ".json", ".bio", ".conll", ".tsv")
NO_SET = ("_schema.json", "schema.jsonl", "hard_dict.json", "ner_cn.json", "ner_en.json")


def through(form: AnswerFormat, one: Extraction) -> Extraction:
    """Write the answers that say what is known of a text, and read them again."""
    schema = schema_of([one], language=one.language)
    questions = form.ask(one.text, schema, Asking(gold=one))
    answers = [(question, write_answer(form, one, question)) for question in questions]
    parsed = merged((question, form.read(answer, question)) for question, answer in answers)
    return align(parsed, one.text, id=one.id, language=one.language)


def measure(file: Path) -> dict[str, Any]:
    """Return what a set holds, and for each form its score and what it refused."""
    bad = BadRows(0.0)
    examples = list(read_set(file, bad=bad))
    found = [one for one in examples if one.relations or one.events or _has_types(one)]
    result: dict[str, Any] = {
        "examples": len(examples),
        "entities": sum(len(one.entities) for one in examples),
        "relations": sum(len(one.relations) for one in examples),
        "events": sum(len(one.events) for one in examples),
        "bad rows": bad.bad,
        "forms": {},
    }
    for form in (FORMATS.get(name) for name in FORMATS if name != "cutegpt"):
        gold, back, refused = [], [], 0
        for one in found:
            try:
                back.append(through(form, one))
                gold.append(one)
            except ValueError:
                refused += 1
        result["forms"][form.name] = {
            "f1": f1(gold, back, samples=1)["overall"].f1, "texts": len(gold), "refused": refused,
        }  # fmt: skip
    return result


def _has_types(one: Extraction) -> bool:
    return any(mention.type for mention in one.entities)


def main() -> None:
    """Measure all sets, print a line for each and write the results."""
    files = [file for file in sorted((DATA / "ie").rglob("*")) if file.suffix in SUFFIXES]
    files = [file for file in files if not file.name.endswith(NO_SET)]
    results = {}
    for file in [*files, DATA / "kg" / "redocred_dev.jsonl"]:
        start = time.perf_counter()
        name = str(file.relative_to(DATA))
        results[name] = measure(file)
        worst = min(form["f1"] for form in results[name]["forms"].values())
        refused = {n: f["refused"] for n, f in results[name]["forms"].items() if f["refused"]}
        seconds = time.perf_counter() - start
        print(f"{name}: {results[name]['examples']} worst F1 {worst} {refused} {seconds:.0f} s")
    write_json(RESULT, {"machine": environment.describe(), "results": results})


if __name__ == "__main__":
    main()
