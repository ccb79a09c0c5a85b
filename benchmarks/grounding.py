"""Are gold mentions found at their exact spans when a model writes them in another width or script?

    python benchmarks/grounding.py [PYTHON_WITH_LANGEXTRACT]

10,000 gold mentions of public sets (HANLIN_DATA) whose place can be told: the gold marks all places
of their letters. What is marked once and stands twice is counted beside them. Each is asked for as
it stands, with its width changed, or (Chinese) its script. langextract's aligner gets the same.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opencc

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.extraction.align import align
from hanlin.extraction.facts import Extraction, Mention, Status
from hanlin.extraction.parse import Parsed
from hanlin.extraction.readers import read_set
from hanlin.text.normalize import fold_width

HERE = Path(__file__).parent
DATA = Path(os.environ.get("HANLIN_DATA", HERE.parent.parent / "shared" / "data"))
RESULT = HERE / "results" / "grounding.json"
SETS = {
    "zh": ("ie/ner/cluener_dev.jsonl", "ie/ner/people_daily_dev.bio",
           "ie/ee/fewfc_train_base.jsonl"),
    "en": ("ie/ner/wnut17_train.conll", "ie/ee/phee_train.jsonl", "kg/redocred_dev.jsonl"),
}  # fmt: skip
MENTIONS = {"zh": 6000, "en": 4000}
VARIANTS = {"zh": ("same", "width", "script", "width and script"), "en": ("same", "width")}
TRADITIONAL = opencc.OpenCC("s2t")


def cases() -> Iterator[dict[str, Any]]:
    """Yield texts with all of their gold mentions, some of them to be asked for otherwise."""
    for language, files in SETS.items():
        rng = random.Random(language)  # noqa: S311
        texts = [one for file in files for one in read_set(DATA / file) if one.language == language]
        rng.shuffle(texts)
        left = MENTIONS[language]
        for text in texts:
            mentions = sorted({(m.start, m.end) for m in text.entities if m.start is not None})
            if not mentions or left <= 0:
                continue
            marks = {"text": text.text, "gold": mentions}
            left -= sum(not is_ambiguous(marks, number) for number in range(len(mentions)))
            kinds = [rng.choice(VARIANTS[language]) for _ in mentions]
            names = [
                variant(text.text[start:end], kind)
                for (start, end), kind in zip(mentions, kinds, strict=True)
            ]
            yield {"language": language, "text": text.text, "gold": [list(m) for m in mentions],
                   "kinds": kinds, "names": names}  # fmt: skip


def variant(name: str, kind: str) -> str:
    """Write a name in another width (full for half, half for full) or in traditional script."""
    if "script" in kind:
        name = TRADITIONAL.convert(name)
    if "width" in kind:
        folded = fold_width(name)
        name = folded if folded != name else "".join(map(widened, name))
    return name


def widened(character: str) -> str:
    """Return the full-width form of an ASCII character."""
    if character == " ":
        return "\u3000"
    return chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character


def hanlin(case: dict[str, Any], until: Status) -> tuple[list[list[int] | None], list[str], float]:
    """Return the spans that Hanlin finds for the names of a text, and how."""
    parsed = Parsed(tuple(("name", name) for name in case["names"]))
    start = time.perf_counter()
    found: Extraction = align(parsed, case["text"], until=until)
    seconds = time.perf_counter() - start
    return [span(m) for m in found.entities], [m.status for m in found.entities], seconds


def span(mention: Mention) -> list[int] | None:
    """Return the place of a mention."""
    return None if mention.start is None or mention.end is None else [mention.start, mention.end]


def is_ambiguous(case: dict[str, Any], number: int) -> bool:
    """Tell whether the same letters stand in the text at more places than the gold marks."""
    start, end = case["gold"][number]
    text = fold_width(case["text"])
    name = text[start:end]
    places = sum(text.startswith(name, at) for at in range(len(text)))
    marked = sum(text[s:e] == name for s, e in case["gold"])
    return places > marked


def recall(all_cases: list[dict[str, Any]], spans: list[list[list[int] | None]]) -> dict[str, Any]:
    """Return the share of mentions at their exact span, by language and kind of variant."""
    right, total = Counter[str](), Counter[str]()
    for case, found in zip(all_cases, spans, strict=True):
        for number, (gold, got) in enumerate(zip(case["gold"], found, strict=True)):
            groups = [case["language"], f"{case['language']}: {case['kinds'][number]}", "all"]
            if not is_ambiguous(case, number):
                groups += [f"{case['language']}, one place only", "all, one place only"]
            for group in groups:
                total[group] += 1
                right[group] += got == gold
    return {
        group: {"recall": right[group] / total[group], "mentions": total[group]}
        for group in sorted(total)
    }


def langextract(python: str, kind: str, all_cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Run langextract's aligner on the same cases in its own environment."""
    given = "".join(json.dumps(case) + "\n" for case in all_cases)
    command = [python, str(HERE / "grounding_langextract.py"), kind]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    first, *rows = map(json.loads, done.stdout.splitlines())
    seconds = sum(row["seconds"] for row in rows)
    found = recall(all_cases, [row["spans"] for row in rows])
    return {**first, "recall": found, "texts_per_s": len(rows) / seconds}


def main() -> None:
    """Measure, print a table and write the results."""
    all_cases = list(cases())
    results: dict[str, Any] = {}
    for until in ("exact", "folded", "script", "fuzzy"):
        found = [hanlin(case, until) for case in all_cases]
        statuses = Counter(status for _, own, _ in found for status in own)
        results[f"hanlin until {until}"] = {
            "recall": recall(all_cases, [spans for spans, _, _ in found]),
            "statuses": dict(statuses),
            "texts_per_s": len(found) / sum(seconds for _, _, seconds in found),
        }
    if len(sys.argv) > 1:
        for kind in ("regex", "unicode"):
            results[f"langextract, {kind} tokens"] = langextract(sys.argv[1], kind, all_cases)
    value = {"machine": environment.describe(), "texts": len(all_cases), "results": results}
    write_json(RESULT, value)
    groups = list(results["hanlin until fuzzy"]["recall"])
    for name, result in results.items():
        shown = "  ".join(f"{g} {result['recall'][g]['recall']:.4f}" for g in groups)
        print(f"{name}: {shown}  {result['texts_per_s']:.0f} texts/s")


if __name__ == "__main__":
    main()
