"""How fast are tokenizers trained, and text encoded, next to the bare libraries?

    python benchmarks/tokenizer_speed.py [ROUNDS]

The same files in one run, ours and the bare library in turn, A B A B; MB of UTF-8 text a second.
Bare is what a short script does, see `tokenizer_bare.py`: the same options on the same lines, and
what is trained and encoded is shown to be the same. Training is measured as whole commands, start
and imports included, encoding inside one process. Data from HANLIN_DATA (../shared/data).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import sentencepiece as spm
import tokenizer_bare
import tokenizers
from tokenizer_bare import BYTE_LEVEL_VOCAB, SENTENCEPIECE_VOCAB

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.tokenization.extend import Config, extend_files
from hanlin.tokenization.load import load

DATA = Path(os.environ.get("HANLIN_DATA", Path(__file__).parents[2] / "shared" / "data"))
CORPUS = DATA / "corpus"
FEW = [CORPUS / "novel_hongloumeng.txt", CORPUS / "en_wiki_demo.txt"]
MANY = sorted([*CORPUS.glob("*.txt"), *CORPUS.glob("*.jsonl")])
TRAINED = {"sp-bpe": MANY, "unigram": FEW[:1], "byte-bpe": FEW}  # the latter two take long
RESULT = Path(__file__).parent / "results" / "tokenizer_speed.json"

Work = Callable[[], object]


def train_ours(kind: str, folder: Path) -> Work:
    """Return the work of training one type of tokenizer, up to a folder that transformers loads."""
    size = BYTE_LEVEL_VOCAB if kind == "byte-bpe" else SENTENCEPIECE_VOCAB
    options = ["--type", kind, "--vocab-size", str(size), "--out", str(folder), "--force"]
    command = [sys.executable, "-m", "hanlin", "-q", "tokenizer", "train"]
    return lambda: call([*command, *map(str, TRAINED[kind]), *options])


def train_bare(kind: str, folder: Path) -> Work:
    """Return the same by the library alone, up to its own file."""
    command = [sys.executable, tokenizer_bare.__file__, kind, str(folder)]
    return lambda: call([*command, *map(str, TRAINED[kind])])


def call(command: list[str]) -> None:
    """Run a command to its end."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def pieces(folder: Path) -> list[str]:
    """Return the entries of a tokenizer, special tokens of a byte-level one left out."""
    spm_file = next(folder.glob("*.model"), None)
    if spm_file is not None:
        model = spm.SentencePieceProcessor(model_file=str(spm_file))
        return [model.id_to_piece(index) for index in range(model.vocab_size())]
    file = folder / "m.json" if (folder / "m.json").exists() else folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    special = {token["content"] for token in content["added_tokens"]}
    return [text for text in content["model"]["vocab"] if text not in special]


def encode_pairs(folder: Path, rows: list[str]) -> dict[str, tuple[Work, Work]]:
    """Return the works of encoding, ours and bare, by a name; each pair gives the same ids.

    The unigram and the byte-level tokenizer are those in the folder, made by `measure_training`.
    """
    llama = DATA / "tokenizers" / "llama" / "tokenizer.model"
    chinese = str(DATA / "tokenizers" / "chinese_sp.model")
    extend_files(Config(base=str(llama), pieces=chinese), folder=folder / "extended")
    pairs: dict[str, tuple[Work, Work]] = {}
    files = {"llama": llama} | {
        name: folder / name / "tokenizer.model" for name in ("extended", "unigram")
    }
    for name, file in files.items():
        ours, bare = load(file.parent), spm.SentencePieceProcessor(model_file=str(file))
        pairs[f"{name}, many texts"] = (
            lambda ours=ours: ours.encode_batch(rows, at_start=True),
            lambda bare=bare: bare.encode(rows),
        )
        pairs[f"{name}, one by one"] = (
            lambda ours=ours: [ours.encode(row, at_start=True) for row in rows],
            lambda bare=bare: [bare.encode(row) for row in rows],
        )
    byte_level = load(folder / "byte-bpe")
    fast = tokenizers.Tokenizer.from_file(str(folder / "byte-bpe" / "tokenizer.json"))
    pairs["byte-bpe, many texts"] = (
        lambda: byte_level.encode_batch(rows, at_start=True),
        lambda: [e.ids for e in fast.encode_batch_fast(rows, add_special_tokens=False)],
    )
    pairs["byte-bpe, one by one"] = (
        lambda: [byte_level.encode(row, at_start=True) for row in rows],
        lambda: [fast.encode(row, add_special_tokens=False).ids for row in rows],
    )
    for name, (ours, bare) in pairs.items():
        assert ours() == bare(), name
    return pairs


def measure(ours: Work, bare: Work, *, megabytes: float, rounds: int) -> dict[str, Any]:
    """Return MB/s of both and their ratio: of the fastest rounds, and the median of the pairs.

    Other programs only ever make a round slower, so that the fastest ones say most of the work.
    """
    times = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
    own, theirs = (min(side) for side in zip(*times, strict=True))
    ratios = [theirs / own for own, theirs in times]
    return {
        "hanlin_mb_per_s": round(megabytes / own, 2),
        "bare_mb_per_s": round(megabytes / theirs, 2),
        "ratio": round(theirs / own, 3),
        "ratio_median": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def seconds(work: Work) -> float:
    """Return how long a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def size_mb(rows: Iterable[str]) -> float:
    """Return the UTF-8 text in rows, in MB."""
    return sum(len(row.encode()) for row in rows) / 1e6


def measure_training(kind: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Measure the training of one kind, and see that both sides made the same pieces."""
    ours, bare = folder / kind, folder / f"bare-{kind}"
    megabytes = size_mb(tokenizer_bare.rows(TRAINED[kind]))
    row = measure(train_ours(kind, ours), train_bare(kind, bare), megabytes=megabytes,
                  rounds=rounds)  # fmt: skip
    assert pieces(ours) == pieces(bare), kind
    return row


def table(result: dict[str, Any]) -> str:
    """Return the measurements as a Markdown table."""
    lines = [
        "| work | Hanlin MB/s | bare library MB/s | ratio | median of pairs |",
        "|---|---|---|---|---|",
    ]
    for group, name_of_group in (("train", "train, whole command"), ("encode", "encode")):
        for name, row in result[group].items():
            lines.append(
                f"| {name_of_group}: {name} | {row['hanlin_mb_per_s']} | {row['bare_mb_per_s']} | "
                f"{row['ratio']} | {row['ratio_median']} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write the result and its table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    result: dict[str, Any] = {"machine": environment.describe(), "rounds": rounds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result["train"] = {kind: measure_training(kind, folder, rounds) for kind in TRAINED}
        rows = list(tokenizer_bare.rows(MANY))[::2]
        result["encode"] = {
            name: measure(*pair, megabytes=size_mb(rows), rounds=rounds)
            for name, pair in encode_pairs(folder, rows).items()
        }
    write_json(RESULT, result)
    RESULT.with_suffix(".md").write_text(table(result), encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
