"""How does a base model's tokenizer get pieces for a new language?

The stage `extend-tokenizer`, alone:

hanlin tokenizer extend BASE --corpus zh.txt --add 4000 --control en.txt --out extended
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.errors import InputError
from hanlin.core.files import size_bytes, write_json
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.fertility import measure
from hanlin.tokenization.load import Tokenizer, load
from hanlin.tokenization.pieces import Extension, donor_pieces, extend_model
from hanlin.tokenization.texts import Text, read_all
from hanlin.tokenization.train import BYTES_AND_SPECIALS, train_model, write_folder

log = logging.getLogger(__name__)

ASCII_CHARACTERS = 95
# Shares of single characters, measured on Chinese Wikipedia and a novel: with 1,500 pieces 0.8
# needs 5 % fewer tokens than 0.5, with 10,000 the characters of 99 % of the text 1 % fewer.
MOST_CHARACTERS, COVERAGE = 0.8, 0.99
MEASURED_CHARACTERS = 1_000_000  # of each language, for the fertility table


class Config(StageConfig):
    """Config of the stage `extend-tokenizer`."""

    base: ModelPath
    """Tokenizer, or model with one, that is extended: a folder, a tokenizer.model or a hub id."""
    corpus: list[InputPath] = []
    """Texts of the new language (.jsonl with "text", or .txt): pieces are trained on them."""
    pieces: InputPath | None = None
    """A SentencePiece model whose pieces are added, instead of training on `corpus`."""
    add: int | None = Field(None, ge=1)
    """Pieces to add; needed with `corpus`. With `pieces`, at most so many; None: all."""
    control: list[InputPath] = []
    """Texts of the base language: their ids must not change."""
    max_bad_rows: float = Field(0.01, ge=0, le=1)
    """Share of bad rows in a file above which the stage stops."""

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.pieces is None and not self.corpus:
            raise ValueError("give corpus (texts to train pieces on) or pieces (a model of them)")
        if self.pieces is None and self.add is None:
            raise ValueError("corpus needs add: how many pieces to train")
        return self


def run(config: Config, context: StageContext) -> None:
    """Extend the base tokenizer; write the folder and what changed for each language."""
    report = extend_files(
        config,
        folder=context.out / "tokenizer",
        seed=context.stream("pieces"),
        progress=context.progress,
    )
    write_json(context.out / "fertility.json", report)
    context.events.emit(
        "metric", stage=context.name, added=report["added"],
        dropped_unreachable=report["dropped_unreachable"],
    )  # fmt: skip


def extend_files(
    config: Config,
    *,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None,
) -> dict[str, Any]:
    """Read everything the config names, write the extended tokenizer, return the report.

    Args:
        config: the base and where the pieces come from.
        folder: the new tokenizer folder.
        seed: for training pieces.
        progress: called with (done, total, text).

    Raises:
        InputError: an input is missing, of the wrong kind, or holds nothing that can be added.
        ResourceError: the disk is full or the folder cannot be written.
    """
    base = load(config.base)
    corpus = read_all(config.corpus, max_bad_rows=config.max_bad_rows)
    control = read_all(config.control, max_bad_rows=config.max_bad_rows)
    if config.pieces is not None:
        offered = donor_pieces(sentencepiece.read_model(Path(config.pieces)))
    else:
        offered = train_pieces((row.text for row in corpus), add=config.add or 0, seed=seed)
    progress(1, 3, f"{len(offered)} pieces offered")
    extension = extend(base, offered, control=[row.text for row in control], limit=config.add)
    extended = write(base, extension, folder)
    progress(2, 3, f"{len(extension.added)} pieces added")
    report = describe(base, extended, extension, corpus=corpus, control=control)
    progress(3, 3, "measured")
    return report


def train_pieces(texts: Iterable[str], *, add: int, seed: int = 0) -> list[str]:
    """Train on texts of the new language and return pieces to offer: characters, then merges.

    More than are wanted, because words of the base language in these texts give pieces that
    cannot be taken.
    """
    texts = list(texts)
    alphabet = min(_common_characters(texts), int(MOST_CHARACTERS * add) + ASCII_CHARACTERS)
    model = train_model(
        texts, vocab_size=BYTES_AND_SPECIALS + alphabet + 2 * add, seed=seed,
        alphabet=max(1, alphabet), dummy_prefix=False,
    )  # fmt: skip
    return sorted(donor_pieces(model), key=lambda text: len(text) > 1)


def _common_characters(texts: Iterable[str]) -> int:
    """Return how many of the most frequent characters make up the share COVERAGE of texts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    needed = COVERAGE * counts.total()
    sums = accumulate(sorted(counts.values(), reverse=True))
    return sum(total < needed for total in sums) + 1


def extend(
    base: Tokenizer,
    offered: Sequence[str],
    *,
    control: Sequence[str] = (),
    limit: int | None = None,
) -> Extension:
    """Extend the model inside a tokenizer; see `pieces.extend_model`.

    Raises:
        InputError: the tokenizer is no SentencePiece BPE, or no offered piece can be added.
    """
    extension = extend_model(base_model(base), offered, control=control, limit=limit)
    if not extension.added:
        raise InputError(
            "not one of the offered pieces can be added",
            why=f"{extension.duplicates} are in the base already, {extension.could_move_base} "
            f"have no character that the base language lacks, {extension.unreachable} cannot be "
            "reached by merges",
            fix="give texts of a language in another script, or more of them",
        )
    if limit is not None and len(extension.added) < limit:
        log.warning(
            "%d pieces were added, not %d: the texts hold no more that can be; give more text",
            len(extension.added), limit,
        )  # fmt: skip
    return extension


def base_model(base: Tokenizer) -> Any:  # noqa: ANN401 - a ModelProto
    """Return the SentencePiece model of a tokenizer that can be extended.

    Raises:
        InputError: it has none, is no BPE, or `tokenizer.json` holds more than the model.
    """
    if base.spm_model is None:
        raise InputError(
            f"the tokenizer in {base.path} cannot be extended",
            why="it has no tokenizer.model: only SentencePiece tokenizers (LLaMA 1 and 2 and "
            "their relatives) can be extended so far",
            fix="take a base with a tokenizer.model",
        )
    model = sentencepiece.parse_model(base.spm_model, name=str(base.path))
    if model.trainer_spec.model_type != sentencepiece.BPE:
        raise InputError(
            f"the tokenizer in {base.path} is a unigram model, not a BPE",
            why="new pieces would change how texts of the base language are cut",
            fix="take a base with a BPE tokenizer, as LLaMA's is",
        )
    if len(model.pieces) != base.vocab_size:
        raise InputError(
            f"{base.path}: tokenizer.model has {len(model.pieces)} pieces, tokenizer.json has "
            f"{base.vocab_size}",
            why="tokens were added to one of them only, and their ids would be taken twice",
            fix="remove the wrong one of the two files",
        )
    return model


def write(base: Tokenizer, extension: Extension, folder: Path) -> Tokenizer:
    """Write the extended tokenizer as a folder; a chat template of the base is kept."""
    write_folder(extension.model, folder)
    tokenizer = load(folder)
    if base.chat_template is not None:
        tokenizer.save(folder, chat_template=base.chat_template)
    return tokenizer


def describe(
    before: Tokenizer,
    after: Tokenizer,
    extension: Extension,
    *,
    corpus: Sequence[Text],
    control: Sequence[Text],
) -> dict[str, Any]:
    """Return the content of `fertility.json`: each language before and after, and counts.

    Texts without a language are told apart by where they came from: "corpus" or "control".
    """
    groups: dict[str, list[str]] = {}
    for name, rows in (("corpus", corpus), ("control", control)):
        for row in rows:
            groups.setdefault(row.language or name, []).append(row.text)
    report: dict[str, Any] = {}
    for language in sorted(groups):
        sample = _sample(groups[language])
        report[language] = {
            "before": measure(before, sample).as_dict(),
            "after": measure(after, sample).as_dict(),
        }
    changed = _count_changed(before, after, [row.text for row in control])
    if changed:
        log.warning(
            "%d of %d control texts have other ids now: they hold characters of the new language",
            changed, len(control),
        )  # fmt: skip
    return report | {
        "added": len(extension.added),
        "duplicates": extension.duplicates,
        "could_move_base": extension.could_move_base,
        "dropped_unreachable": extension.unreachable,
        "control_texts": len(control),
        "english_ids_changed": changed,
    }


def _sample(texts: Sequence[str]) -> list[str]:
    """Return the first texts, as many as are worth measuring."""
    taken, characters = [], 0
    for text in texts:
        if characters >= MEASURED_CHARACTERS:
            break
        taken.append(text)
        characters += len(text)
    return taken


def _count_changed(before: Tokenizer, after: Tokenizer, texts: Iterable[str]) -> int:
    return sum(
        before.encode(text, at_start=True) != after.encode(text, at_start=True) for text in texts
    )


def estimate(config: Config) -> Estimate:
    """Estimate from the sizes of the files: about 2 MB of text a second, all of it in memory."""
    files = [Path(path) for path in (*config.corpus, *config.control)]
    corpus_bytes = sum(size_bytes(file) for file in files if file.exists())
    return Estimate(
        disk_bytes=20_000_000,
        memory_bytes=300_000_000 + 6 * corpus_bytes,
        seconds=5 + corpus_bytes / 2e6,
    )


STAGE = Stage(
    summary="Add pieces of a new language to the base tokenizer.",
    config=Config,
    run=run,
    outputs={
        "tokenizer": ("tokenizer", "tokenizer"),
        "fertility": ("fertility", "fertility.json"),
    },
    estimate=estimate,
)
