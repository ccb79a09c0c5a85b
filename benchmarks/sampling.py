"""How well do chosen rows cover a data set, and what does choosing cost?

    python benchmarks/sampling.py [FOLDER]

Needs scikit-learn, rensa and datasketch. FOLDER (else a temporary one) keeps the million rows,
which are made from the instruction files of the public data: each is put together of sentences of
two rows; one in four is an earlier row with a few characters changed.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.data.corpus.near_duplicates import NearDuplicates
from hanlin.data.corpus.shingles import in_batches, split_words
from hanlin.data.sampling.coverage import Group, choose, feature_weights
from hanlin.data.sampling.features import FeatureFile, features
from hanlin.data.sampling.rows import text_of

HERE = Path(__file__).parent
DATA = Path(os.environ.get("HANLIN_DATA", HERE.parent.parent / "shared" / "data"))
FILES = (
    "alpaca_zh_0-3252", "alpaca_en_0-3252", "alpaca_zh_demo", "alpaca_en_demo", "terms_zh",
    "arithmetic_zh", "poetry_culture_zh",
)  # fmt: skip
RESULT = HERE / "results" / "sampling.json"
MILLION, WANTED = 1_000_000, 20_000
SMALL_SIZES = (200, 1000, 3000)
PEER_ROWS = 20_000
HAN = "\u3400-\u4dbf\u4e00-\u9fff"
TOKEN = re.compile(rf"[{HAN}]+|[^\W_{HAN}]+")


def base_rows() -> list[dict[str, str]]:
    """Return the rows of the instruction files."""
    rows: list[dict[str, str]] = []
    for name in FILES:
        rows += json.loads((DATA / "instructions" / f"{name}.json").read_text(encoding="utf-8"))
    return [row for row in rows if str(row["output"]).strip()]


def analyze(text: str) -> list[str]:
    """Return words and pairs of Chinese characters, for scikit-learn; written apart from Hanlin."""
    found = []
    for run in TOKEN.findall(text.lower()):
        if re.match(rf"[{HAN}]", run) and len(run) > 1:
            found += [run[at : at + 2] for at in range(len(run) - 1)]
        else:
            found.append(run)
    return found


def exact_greedy(matrix: Any, weights: np.ndarray, n: int) -> list[int]:  # noqa: ANN401
    """Take the best of all rows, n times (scipy's sparse product gives all gains)."""
    holders = np.zeros(matrix.shape[1])
    is_taken = np.zeros(matrix.shape[0], bool)
    chosen = []
    for _ in range(n):
        gains = matrix @ (weights * (np.sqrt(holders + 1) - np.sqrt(holders)))
        gains[is_taken] = -1
        best = int(gains.argmax())
        is_taken[best] = True
        chosen.append(best)
        holders += matrix[best].toarray()[0]
    return chosen


def compare_with_exact() -> list[dict[str, object]]:
    """Measure our choice, exact greedy and random rows by scikit-learn's features."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    texts = [text_of(row) for row in base_rows()]
    matrix = CountVectorizer(analyzer=analyze, binary=True, min_df=2).fit_transform(texts)
    weights = TfidfTransformer().fit(matrix).idf_
    matrix = matrix.astype(np.float64).tocsr()

    def value(rows: list[int]) -> float:
        return float(weights @ np.sqrt(np.asarray(matrix[rows].sum(axis=0))[0]))

    def covered(rows: list[int]) -> float:
        is_held = np.asarray(matrix[rows].sum(axis=0))[0] > 0
        return float(weights[is_held].sum() / weights.sum())

    file = feature_file(texts)
    results = []
    for n in SMALL_SIZES:
        started = time.perf_counter()
        exact = exact_greedy(matrix, weights, n)
        exact_s, started = time.perf_counter() - started, time.perf_counter()
        group = Group(np.arange(len(texts)), n)
        ours = choose(file, feature_weights(file), [group], seed=0).tolist()
        ours_s = time.perf_counter() - started
        drawn = random.Random(0).sample(range(len(texts)), n)  # noqa: S311 - not for secrets
        results.append({
            "rows": len(texts), "chosen": n,
            "value_of_exact_greedy": round(value(ours) / value(exact), 4),
            "random_value_of_exact_greedy": round(value(drawn) / value(exact), 4),
            "covered": round(covered(ours), 4), "covered_exact": round(covered(exact), 4),
            "covered_random": round(covered(drawn), 4),
            "seconds": round(ours_s, 2), "seconds_exact": round(exact_s, 2),
        })  # fmt: skip
    return results


def feature_file(texts: list[str]) -> FeatureFile:
    """Return the features of texts."""
    file = FeatureFile(Path(tempfile.gettempdir()))
    for batch in in_batches(texts, text=str):
        file.add(*features(split_words(batch)))
    file.finish()
    return file


def varied_rows(count: int) -> Iterator[dict[str, str]]:
    """Yield many rows made of few."""
    draw = random.Random(17)  # noqa: S311 - not for secrets
    base = [row for row in base_rows() if len(row["output"]) > 60]
    sentences = [
        [part for part in re.split(r"(?<=[。！？.!?])", row["output"]) if part.strip()]
        for row in base
    ]
    recent: list[dict[str, str]] = []
    for _ in range(count):
        if recent and draw.random() < 0.25:
            row = dict(draw.choice(recent))
            at = draw.randrange(max(1, len(row["output"])))
            row["output"] = row["output"][:at] + draw.choice("一二三四五") + row["output"][at + 2 :]
        else:
            one, other = draw.randrange(len(base)), draw.randrange(len(base))
            parts = draw.sample(sentences[one], draw.randint(1, len(sentences[one])))
            parts += draw.sample(sentences[other], draw.randint(1, len(sentences[other])))
            draw.shuffle(parts)
            row = {**base[one], "output": "".join(parts)}
        if len(recent) < 10_000:
            recent.append(row)
        else:
            recent[draw.randrange(10_000)] = row
        yield row


def make_million(folder: Path) -> Path:
    """Write the large file, unless it is there."""
    path = folder / "million.jsonl"
    if not path.exists():
        with path.with_suffix(".part").open("w", encoding="utf-8") as stream:
            for row in varied_rows(MILLION):
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        path.with_suffix(".part").rename(path)
    return path


def sample_million(path: Path, folder: Path) -> dict[str, object]:
    """Run the command on the large file; measure time and the peak of resident memory."""
    command = [
        sys.executable, "-c", CHILD, "data", "sample", str(path), str(folder / "chosen.jsonl"),
        "--n", str(WANTED), "--workers", "2", "--force", "--json",
    ]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    found = json.loads(done.stdout)
    peak_kb = int(re.findall(r"peak_kb=(\d+)", done.stderr)[-1])
    with path.open(encoding="utf-8") as stream:
        wanted = set(random.Random(0).sample(range(MILLION), WANTED))  # noqa: S311
        texts = [text_of(json.loads(line)) for i, line in enumerate(stream) if i in wanted]
    random_duplicates = sum(found is not None for found in NearDuplicates().find(texts))
    with (folder / "chosen.jsonl").open(encoding="utf-8") as stream:
        chosen = [text_of(json.loads(line)) for line in stream]
    return {
        "rows": found["rows"], "chosen": found["chosen"], "file_bytes": path.stat().st_size,
        "seconds": round(seconds, 1), "peak_bytes": peak_kb * 1024,
        "near_duplicates": found["near_duplicates"],
        "covered": found["covered"], "covered_random": found["covered_at_random"],
        "near_duplicates_in_chosen": sum(n is not None for n in NearDuplicates().find(chosen)),
        "near_duplicates_in_random": random_duplicates,
    }  # fmt: skip


# The peak of the first process, and for each of its two workers that of the larger one.
CHILD = """
import atexit, resource, sys
peak = lambda who: resource.getrusage(who).ru_maxrss
total = lambda: peak(resource.RUSAGE_SELF) + 2 * peak(resource.RUSAGE_CHILDREN)
atexit.register(lambda: sys.stderr.write(f"peak_kb={total()}\\n"))
from hanlin.cli.main import main
main()
"""


def compare_near_duplicates() -> dict[str, object]:
    """Time finding near duplicates against rensa and datasketch, with 128 minima each."""
    texts = [text_of(row) for row in islice(varied_rows(PEER_ROWS), PEER_ROWS)]
    finders: dict[str, Callable[[list[str]], int]] = {
        "hanlin": find_with_hanlin, "rensa": find_with_rensa, "datasketch": find_with_datasketch
    }  # fmt: skip
    results: dict[str, Any] = {}
    for name, find in finders.items():
        rows = texts if name != "datasketch" else texts[: PEER_ROWS // 10]
        find(rows[:20])  # imports and tables
        started = time.perf_counter()
        duplicates = find(rows)
        seconds = time.perf_counter() - started
        results[name] = {
            "texts": len(rows),
            "texts_per_s": round(len(rows) / seconds),
            "duplicates": duplicates,
        }
    ours = results["hanlin"]["texts_per_s"]
    for name in ("rensa", "datasketch"):
        results[name]["version"] = version(name)
        results[name]["hanlin_is_faster_by"] = round(ours / results[name]["texts_per_s"], 2)
    return results


def find_with_hanlin(texts: list[str]) -> int:
    """Count near duplicates."""
    return sum(found is not None for found in NearDuplicates(0.8).find(texts))


def three_words(text: str) -> list[str]:
    """Return what the peers hash: three words (characters of Chinese) in a row."""
    words = re.findall(rf"[{HAN}]|[^\W_{HAN}]+", text.lower())
    return [" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))]


def find_with_rensa(texts: list[str]) -> int:
    """Count near duplicates with R-MinHash and its LSH."""
    import rensa

    index = rensa.RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
    kept: dict[int, Any] = {}
    duplicates = 0
    for number, text in enumerate(texts):
        sketch = rensa.RMinHash(num_perm=128, seed=1)
        sketch.update(three_words(text))
        if any(sketch.jaccard(kept[other]) >= 0.8 for other in index.query(sketch)):
            duplicates += 1
        else:
            kept[number] = sketch
            index.insert(number, sketch)
    return duplicates


def find_with_datasketch(texts: list[str]) -> int:
    """Count near duplicates with MinHash and its LSH."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=0.8, num_perm=128, params=(18, 7))
    kept: dict[int, Any] = {}
    duplicates = 0
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([shingle.encode() for shingle in three_words(text)])
        if any(sketch.jaccard(kept[other]) >= 0.8 for other in index.query(sketch)):
            duplicates += 1
        else:
            kept[number] = sketch
            index.insert(number, sketch)
    return duplicates


def main() -> None:
    """Measure, print, write the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(name)
        result = {
            "machine": environment.describe() | {"scikit-learn": version("scikit-learn")},
            "against_exact_greedy": compare_with_exact(),
            "near_duplicates": compare_near_duplicates(),
            "million": sample_million(make_million(folder), folder),
        }
    write_json(RESULT, result)
    print(json.dumps({k: v for k, v in result.items() if k != "machine"}, indent=1))


if __name__ == "__main__":
    main()
