"""How fast are tokenizers trained, and text encoded, next to the bare libraries?

    python benchmarks/tokenizer_speed.py [ROUNDS]

The same files in one run, ours and the bare library in turn, A B A B; MB of UTF-8 text a second.
Bare means what a short script would do: `sentencepiece` with the same options on the lines of the
files, `tokenizers` with the same words and alphabet. Data from HANLIN_DATA (../shared/data).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import sentencepiece as spm
import tokenizers

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.tokenization.bpe import STYLES, train_byte_bpe
from hanlin.tokenization.extend import Config, extend_files
from hanlin.tokenization.load import load
from hanlin.tokenization.texts import read_many
from hanlin.tokenization.train import Training, train_sentencepiece

DATA = Path(os.environ.get("HANLIN_DATA", Path(__file__).parents[2] / "shared" / "data"))
CORPUS = DATA / "corpus"
FEW = [CORPUS / "novel_hongloumeng.txt", CORPUS / "en_wiki_demo.txt"]
MANY = [*FEW, CORPUS / "laws_zh.jsonl", CORPUS / "en_tinyshakespeare.txt"]
TRAINED = {"sp-bpe": MANY, "unigram": FEW, "byte-bpe": MANY}  # a unigram model takes long
VOCAB_SIZE = 8_000
RESULT = Path(__file__).parent / "results" / "tokenizer_speed.json"

Work = Callable[[], object]


def bare_lines(files: list[Path]) -> Iterator[str]:
    """Yield what a script reads: lines, or the "text" of JSON lines."""
    for file in files:
        with file.open(encoding="utf-8") as stream:
            for line in stream:
                text = json.loads(line)["text"] if file.suffix == ".jsonl" else line.rstrip("\n")
                if text.strip():
                    yield text


def texts(kind: str) -> Iterator[str]:
    """Yield the training texts as `hanlin tokenizer train` does."""
    return (row.text for row in read_many(TRAINED[kind]))


def train_ours(kind: str, folder: Path) -> Work:
    """Return the work of training one type of tokenizer, up to a folder that transformers loads."""
    if kind == "byte-bpe":
        return lambda: train_byte_bpe(texts(kind), vocab_size=VOCAB_SIZE, out=folder)
    training = Training(model_type=kind.removeprefix("sp-"))
    return lambda: train_sentencepiece(
        texts(kind), vocab_size=VOCAB_SIZE, out=folder, training=training
    )


def train_bare(kind: str, folder: Path) -> Work:
    """Return the same by the library alone, up to its own file."""
    if kind == "byte-bpe":
        return lambda: bare_byte_bpe(TRAINED[kind], folder)
    options = {
        "model_prefix": str(folder / "m"), "vocab_size": VOCAB_SIZE, "num_threads": 1,
        "model_type": kind.removeprefix("sp-"), "character_coverage": 1.0, "byte_fallback": True,
        "normalization_rule_name": "identity", "remove_extra_whitespaces": False,
        "split_digits": True, "allow_whitespace_only_pieces": True, "minloglevel": 2,
        "max_sentence_length": 1_000_000,  # else it leaves out long lines, which we read
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    return lambda: spm.SentencePieceTrainer.train(
        sentence_iterator=bare_lines(TRAINED[kind]), **options
    )


def bare_byte_bpe(files: list[Path], folder: Path) -> None:
    """Train a byte-level BPE with LLaMA 3's words by `tokenizers`."""
    pre = tokenizers.pre_tokenizers
    made = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre.Sequence([
        pre.Split(tokenizers.Regex(STYLES["llama3"].words), behavior="isolated"),
        pre.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, show_progress=False, initial_alphabet=pre.ByteLevel.alphabet()
    )
    made.train_from_iterator(bare_lines(files), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "m.json"))


def encode_pairs(folder: Path) -> dict[str, tuple[Work, Work]]:
    """Return the works of encoding, ours and bare, by a name; each pair gives the same ids."""
    rows = list(bare_lines(MANY))
    llama = DATA / "tokenizers" / "llama" / "tokenizer.model"
    chinese = str(DATA / "tokenizers" / "chinese_sp.model")
    extend_files(Config(base=str(llama), pieces=chinese), folder=folder / "extended")
    train_ours("unigram", folder / "unigram")()
    train_ours("byte-bpe", folder / "byte-bpe")()
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
    """Return MB/s of both and their ratio, medians over rounds in turn."""
    times = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
    ratios = [theirs / own for own, theirs in times]
    return {
        "hanlin_mb_per_s": round(megabytes / median(own for own, _ in times), 2),
        "bare_mb_per_s": round(megabytes / median(theirs for _, theirs in times), 2),
        "ratio_median": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def seconds(work: Work) -> float:
    """Return how long a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def size_mb(files: list[Path]) -> float:
    """Return the UTF-8 text in files, in MB."""
    return sum(len(line.encode()) for line in bare_lines(files)) / 1e6


def table(result: dict[str, Any]) -> str:
    """Return the measurements as a Markdown table."""
    lines = ["| work | Hanlin MB/s | bare library MB/s | ratio |", "|---|---|---|---|"]
    for group in ("train", "encode"):
        for name, row in result[group].items():
            lines.append(
                f"| {group}: {name} | {row['hanlin_mb_per_s']} | {row['bare_mb_per_s']} | "
                f"{row['ratio_median']} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write the result and its table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    result: dict[str, Any] = {"machine": environment.describe(), "rounds": rounds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result["train"] = {
            kind: measure(
                train_ours(kind, folder / "ours"), train_bare(kind, folder / "bare"),
                megabytes=size_mb(TRAINED[kind]), rounds=rounds,
            )
            for kind in TRAINED
        }  # fmt: skip
        result["encode"] = {
            name: measure(*pair, megabytes=size_mb(MANY), rounds=rounds)
            for name, pair in encode_pairs(folder).items()
        }
    write_json(RESULT, result)
    RESULT.with_suffix(".md").write_text(table(result), encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
