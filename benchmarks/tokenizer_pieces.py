"""How many characters does a token of LLaMA's tokenizer with Chinese pieces stand for?

    python benchmarks/tokenizer_pieces.py

First the 20,000 pieces of Chinese-LLaMA-Alpaca's model: added by the published rule and by ours,
and the most that any scores for the same pieces could give. Then pieces chosen by texts: the first
merges of SentencePiece's BPE, which is what adding them in order comes to, and ours; on the lines
that they were chosen by and on the other half. Data from HANLIN_DATA (../shared/data).
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from hanlin.core import environment
from hanlin.core.files import write_json
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.extend import Config, extend, extend_files
from hanlin.tokenization.load import Tokenizer, load
from hanlin.tokenization.pieces import donor_pieces
from hanlin.tokenization.sentencepiece_extend import Rules, extend_from_corpus
from hanlin.tokenization.texts import lines_of, read_texts
from hanlin.tokenization.train import BYTES_AND_SPECIALS, Training, train_model

DATA = Path(os.environ.get("HANLIN_DATA", Path(__file__).parents[2] / "shared" / "data"))
LLAMA, CHINESE = DATA / "tokenizers" / "llama", DATA / "tokenizers" / "chinese_sp.model"
FILES = (
    "novel_hongloumeng.txt",
    "laws_zh.jsonl",
    "novel_xiyouji.txt",
    "wikipedia_zh_extracts.jsonl",
)
ENGLISH = "en_tinyshakespeare.txt"
SIZES = (1_500, 10_000)
RESULT = Path(__file__).parent / "results" / "tokenizer_pieces.json"


def texts_of(name: str) -> list[str]:
    """Return the rows of a file."""
    return [row.text for row in read_texts(DATA / "corpus" / name)]


def donor_modes() -> dict[str, Any]:
    """Return what both ways of adding the pieces of a second model come to, file by file."""
    return {
        name: donor_mode(compat)
        for name, compat in (("published", "chinese-llama"), ("ours", None))
    }


def donor_mode(compat: str | None) -> dict[str, Any]:
    """Return the counts of one way, and the characters for a token of every file."""
    config = Config(
        base=str(LLAMA),
        pieces=str(CHINESE),
        compat=compat,
        control=[str(DATA / "corpus" / ENGLISH)],
    )
    with tempfile.TemporaryDirectory() as folder:
        report, _ = extend_files(config, folder=Path(folder) / "made")
        made = load(Path(folder) / "made")
    names = ("added", "helpers", "unreachable", "english_ids_changed", "control_texts")
    files = {name: characters_per_token(made, texts_of(name)) for name in FILES}
    return {name: report[name] for name in names} | {"characters_per_token": files}


def characters_per_token(tokenizer: Tokenizer, texts: list[str]) -> dict[str, float]:
    """Return what the tokenizer gives, and the best scores for its pieces would at most."""
    shortest = sentencepiece.shortest_processor(model_of(tokenizer))
    characters = sum(map(len, texts))
    tokens = sum(map(len, tokenizer.encode_batch(texts, at_start=True)))
    fewest = sum(map(len, shortest.encode(texts)))
    return {"given": round(characters / tokens, 4), "possible": round(characters / fewest, 4)}


def model_of(tokenizer: Tokenizer) -> Any:  # noqa: ANN401 - a ModelProto
    """Return the SentencePiece model inside."""
    return sentencepiece.parse_model(tokenizer.spm_model or b"", name=str(tokenizer.path))


def chosen_pieces() -> dict[str, Any]:
    """Return the tokens of both halves of all lines, with pieces chosen by the first half."""
    base = load(LLAMA)
    lines = list(dict.fromkeys(lines_of(text for name in FILES for text in texts_of(name))))
    halves = {"chosen_by": lines[::2], "other_half": lines[1::2]}
    learned = halves["chosen_by"]
    result: dict[str, Any] = {"characters": {n: sum(map(len, h)) for n, h in halves.items()}}
    for size in SIZES:
        ways = {
            "first_merges": extend(base, first_merges(learned, size), limit=size),
            "ours": extend_from_corpus(base, learned, rules=Rules(limit=size)),
            "ours_any_pieces": extend_from_corpus(
                base, learned, rules=Rules(limit=size, whole_words=False)
            ),
        }
        result[str(size)] = {
            name: {half: count(way.model, ls) for half, ls in halves.items()}
            for name, way in ways.items()
        }
    return result


def first_merges(lines: Sequence[str], add: int) -> list[str]:
    """Return pieces in the order in which SentencePiece's BPE learns them, characters first.

    As many characters as make up 99 % of the text, at most four fifths of the pieces.
    """
    counts = Counter(character for line in lines for character in line)
    sums = list(accumulate(sorted(counts.values(), reverse=True)))
    alphabet = min(sum(total < 0.99 * sums[-1] for total in sums) + 1, int(0.8 * add) + 95)
    training = Training(most_characters=alphabet, dummy_prefix=False)
    size = BYTES_AND_SPECIALS + alphabet + 2 * add
    model = train_model(lines, vocab_size=size, training=training)
    return sorted(donor_pieces(model), key=lambda text: len(text) > 1)


def count(model: Any, lines: list[str]) -> int:  # noqa: ANN401 - a ModelProto
    """Return the tokens of lines in the middle of a text."""
    return sum(map(len, sentencepiece.processor(model, dummy_prefix=False).encode(lines)))


def table(result: dict[str, Any]) -> str:
    """Return both comparisons as Markdown tables."""
    both = result["donor"]
    lines = [
        "| characters for a token | published | at most | ours | at most |",
        "|---|---|---|---|---|",
    ]
    for name in FILES:
        cells = [both[mode]["characters_per_token"][name] for mode in ("published", "ours")]
        values = [cell[key] for cell in cells for key in ("given", "possible")]
        lines.append(f"| {name} | " + " | ".join(f"{value:.4f}" for value in values) + " |")
    for name in ("added", "helpers", "unreachable", "english_ids_changed"):
        lines.append(f"| {name} | {both['published'][name]} | | {both['ours'][name]} | |")
    lines += ["", "| pieces | tokens of | first merges | ours | | any pieces | |", "|" + "---|" * 7]
    for size in map(str, SIZES):
        ways = result["chosen"][size]
        for half in ("chosen_by", "other_half"):
            first, ours, free = (ways[w][half] for w in ("first_merges", "ours", "ours_any_pieces"))
            lines.append(
                f"| {size} | {half} | {first} | {ours} | {ours / first - 1:+.2%} | {free} | "
                f"{free / first - 1:+.2%} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write the result and its tables."""
    result = {
        "machine": environment.describe(), "donor": donor_modes(), "chosen": chosen_pieces(),
    }  # fmt: skip
    write_json(RESULT, result)
    RESULT.with_suffix(".md").write_text(table(result), encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
