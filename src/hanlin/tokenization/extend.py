"""How does a base model's tokenizer get pieces for a new language?

The stage `extend-tokenizer`, alone:

hanlin tokenizer extend BASE --corpus zh.txt --add 4000 --control en.txt --out extended
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.errors import InputError
from hanlin.core.files import size_bytes, write_json
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.tokenization import backend, bpe_extend, sentencepiece, sentencepiece_extend
from hanlin.tokenization.fertility import Fertility, batches, measure
from hanlin.tokenization.load import Tokenizer, load
from hanlin.tokenization.pieces import Extension, donor_pieces
from hanlin.tokenization.sentencepiece_extend import Rules, extend, write
from hanlin.tokenization.special_tokens import with_special_tokens
from hanlin.tokenization.texts import Text, lines_of, read_many, sample

__all__ = ["STAGE", "Config", "extend", "extend_files", "write"]

log = logging.getLogger(__name__)

MEASURED_CHARACTERS = 1_000_000  # of each language, for the fertility table

Progress = Callable[[int, int, str], None]


class Config(StageConfig):
    """Config of the stage `extend-tokenizer`."""

    base: ModelPath
    """Tokenizer, or model with one, that is extended: a folder, a tokenizer.model or a hub id."""
    corpus: list[InputPath] = []
    """Texts of the new language (.jsonl with "text", or .txt) that pieces are chosen by."""
    pieces: InputPath | None = None
    """A SentencePiece model whose pieces are added; with `corpus`, those that shorten it most."""
    add: int | None = Field(None, ge=1)
    """Pieces to add; needed with `corpus`. With `pieces`, at most so many; None: all."""
    control: list[InputPath] = []
    """Texts of the base language: their ids must not change."""
    compat: Literal["chinese-llama"] | None = None
    """Add `pieces` as Chinese-LLaMA-Alpaca does: in order, score 0, nothing checked."""
    allow_changed: bool = False
    """Add pieces too that can change ids of the base language; how many texts do is counted."""
    whole_words: bool = True
    """From a corpus, take pieces that are all letters or all signs; false also joins a comma and
    the word behind it: up to 8 % fewer tokens, and two pieces for many words."""
    special: list[str] = []
    """Special tokens to add, such as <end>; those that are there already are left alone."""
    pad_to_multiple: int = Field(1, ge=1)
    """Fill the vocabulary up with unused tokens to a multiple of this."""
    sample_characters: int = Field(3_000_000, ge=1)
    """Of a larger corpus, so many characters are drawn at random to choose SentencePiece pieces."""
    max_bad_rows: float = Field(0.01, ge=0, le=1)
    """Share of bad rows in a file above which the stage stops."""

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.adds_no_pieces and not self.special and self.pad_to_multiple == 1:
            raise ValueError(
                "nothing is added: give corpus (texts to choose pieces by), pieces (a model of "
                "them), or special"
            )
        if self.corpus and self.pieces is None and self.add is None:
            raise ValueError("corpus needs add: how many pieces to add")
        if self.compat and (self.pieces is None or self.add is not None):
            raise ValueError("compat adds all of pieces: give pieces, and leave add out")
        return self

    @property
    def adds_no_pieces(self) -> bool:
        """Tell whether only special or unused tokens are added."""
        return self.pieces is None and not self.corpus


def run(config: Config, context: StageContext) -> None:
    """Extend the base tokenizer; write the folder, what changed, and what became of each piece."""
    report, details = extend_files(
        config,
        folder=context.out / "tokenizer",
        seed=context.stream("pieces"),
        progress=context.progress,
    )
    write_json(context.out / "fertility.json", report)
    write_json(context.out / "extension.json", details)
    context.events.emit(
        "metric", stage=context.name, added=report["added"],
        dropped_unreachable=report["dropped_unreachable"],
    )  # fmt: skip


def extend_files(
    config: Config,
    *,
    folder: Path,
    seed: int = 0,
    progress: Progress = lambda _done, _total, _text: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read everything the config names, write the extended tokenizer, return what happened.

    Args:
        config: the base and where the pieces come from.
        folder: the new tokenizer folder.
        seed: of the sample of a large corpus.
        progress: called with (done, total, text).

    Returns:
        The content of `fertility.json` (languages before and after, counts) and of
        `extension.json` (the pieces by name).

    Raises:
        InputError: an input is missing, of the wrong kind, or holds nothing that can be added.
        ResourceError: the disk is full or the folder cannot be written.
    """
    base = load(config.base)
    is_byte_level = base.spm_model is None and backend.is_byte_level(base.content)
    engine = _byte_level if is_byte_level else _sentencepiece
    made = engine(config, base, seed, progress)
    made.tokenizer.save(folder)
    size = {"vocab_size": made.tokenizer.vocab_size}
    return _fertility(config, base, made) | made.counts | size, made.details


@dataclass(frozen=True)
class _Made:
    """What an engine gives back: the tokenizer, the counts and the names for the reports."""

    tokenizer: Tokenizer
    counts: dict[str, int]
    details: dict[str, Any]


def _sentencepiece(config: Config, base: Tokenizer, seed: int, progress: Progress) -> _Made:
    rules = Rules(
        control=(text.text for text in _read(config, "control")),
        limit=config.add,
        allow_changed=config.allow_changed,
        whole_words=config.whole_words,
    )
    donor = sentencepiece.read_model(Path(config.pieces)) if config.pieces else None
    if config.compat:
        extension = sentencepiece_extend.extend_as_chinese_llama(base, donor)
    elif config.corpus and config.add is not None:
        texts = (text.text for text in _read(config, "corpus", progress))
        lines = sample(lines_of(texts), most=config.sample_characters, seed=seed, size=len)
        within = None if donor is None else set(donor_pieces(donor))
        extension = sentencepiece_extend.extend_from_corpus(
            base, lines, rules=rules, within=within, progress=progress
        )
    elif donor is not None:
        extension = sentencepiece_extend.extend_from_model(base, donor, rules=rules)
    else:
        extension = Extension(sentencepiece_extend.base_model(base), ())
    tokenizer, special_added, padded = sentencepiece_extend.finished(
        base, extension, special=config.special, pad_to_multiple=config.pad_to_multiple
    )
    new = range(base.vocab_size, base.vocab_size + len(extension.added))
    unproven = sentencepiece_extend.unproven(tokenizer, new)
    assert config.compat or not unproven, unproven[:5]
    counts = {
        "added": len(extension.added),
        "helpers": len(extension.helpers),
        "duplicates": extension.duplicates,
        "could_move_base": extension.could_move_base,
        "dropped_unreachable": 0 if config.compat else len(extension.unreachable),
        "unreachable": len(unproven),
        "special_added": special_added,
        "padded": padded,
    }
    details = {
        "scores": "equal" if extension.is_equal else "ordered",
        "added": extension.added,
        "helpers": extension.helpers,
        "dropped": () if config.compat else extension.unreachable,
        "unreachable": unproven,
    }
    return _Made(tokenizer, counts, details)


def _byte_level(config: Config, base: Tokenizer, _seed: int, progress: Progress) -> _Made:
    if config.adds_no_pieces:
        return _only_special(config, base)
    if config.pieces is not None or config.add is None:
        raise InputError(
            f"{config.pieces} cannot be added to the tokenizer in {base.path}",
            why="it is a byte-level BPE, whose tokens are merges of bytes; pieces of a "
            "SentencePiece model come without such merges",
            fix="learn them on texts: --corpus FILE --add N",
        )
    extension = bpe_extend.extend_byte_bpe(
        base,
        (text.text for text in _read(config, "corpus", progress)),
        add=config.add,
        control=(text.text for text in _read(config, "control")),
        allow_changed=config.allow_changed,
        whole_words=config.whole_words,
        progress=progress,
    )
    tokenizer, special_added, padded = with_special_tokens(
        extension.tokenizer, config.special, pad_to_multiple=config.pad_to_multiple
    )
    counts = {
        "added": len(extension.added),
        "helpers": 0,
        "duplicates": extension.duplicates,
        "could_move_base": extension.could_move_base,
        "dropped_unreachable": extension.unreachable,
        "unreachable": len(bpe_extend.unreachable(extension.tokenizer, first=base.vocab_size)),
        "special_added": special_added,
        "padded": padded,
    }
    added = [text.decode(errors="backslashreplace") for text in extension.added]
    return _Made(tokenizer, counts, {"added": added, "saved": extension.saved})


def _only_special(config: Config, base: Tokenizer) -> _Made:
    tokenizer, special_added, padded = with_special_tokens(
        base, config.special, pad_to_multiple=config.pad_to_multiple
    )
    none = ("added", "helpers", "duplicates", "could_move_base", "dropped_unreachable",
            "unreachable")  # fmt: skip
    counts = dict.fromkeys(none, 0) | {"special_added": special_added, "padded": padded}
    return _Made(tokenizer, counts, {"added": []})


def _read(
    config: Config, name: Literal["corpus", "control"],
    progress: Progress = lambda _done, _total, _text: None,
) -> Iterator[Text]:  # fmt: skip
    """Yield the texts of one group of files.

    Raises:
        InputError: a file is unreadable, or there is no text in any of them.
    """
    paths, is_empty = getattr(config, name), True
    for text in read_many(paths, max_bad_rows=config.max_bad_rows, progress=progress):
        is_empty = False
        yield text
    if paths and is_empty:
        raise InputError(
            f"there is no text in {', '.join(map(str, paths))}",
            why="every line is empty",
            fix="give files with text in them",
        )


def _fertility(config: Config, base: Tokenizer, made: _Made) -> dict[str, Any]:
    """Measure each language before and after, and count control texts that have other ids now.

    Texts without a language are told apart by where they came from: "corpus" or "control".
    `fewest_tokens` is what the best scores for the same pieces would come to at most.
    """
    after, fewest = made.tokenizer, Counter[str]()
    shortest = _shortest(after)
    totals: dict[str, list[Fertility]] = defaultdict(lambda: [Fertility(), Fertility()])
    texts_seen = changed = 0
    for name in ("corpus", "control"):
        rows = _read(config, name)
        for batch in batches(rows, characters=lambda row: len(row.text)):
            for language, texts in _by_language(batch, name).items():
                if totals[language][0].characters < MEASURED_CHARACTERS:
                    for i, tokenizer in enumerate((base, after)):
                        totals[language][i] += measure(tokenizer, texts)
                    if shortest is not None:
                        fewest[language] += sum(map(len, shortest.encode(texts)))
            if name == "control":
                texts_seen += len(batch)
                changed += _count_changed(base, after, [row.text for row in batch])
    if changed:
        log.warning(
            "%d of %d control texts have other ids now: %s", changed, texts_seen,
            "pieces that can change them were asked for" if config.allow_changed or config.compat
            else "they hold characters of the new language",
        )  # fmt: skip
    sides = {
        language: {"before": before.as_dict(), "after": now.as_dict()}
        for language, (before, now) in sorted(totals.items())
    }
    for language, count in fewest.items():
        sides[language]["after"]["fewest_tokens"] = count
    return sides | {"control_texts": texts_seen, "english_ids_changed": changed}


def _shortest(tokenizer: Tokenizer) -> Any | None:  # noqa: ANN401 - a SentencePieceProcessor
    if tokenizer.spm_model is None:
        return None
    model = sentencepiece.parse_model(tokenizer.spm_model, name=str(tokenizer.path))
    return sentencepiece.shortest_processor(model)


def _by_language(rows: list[Text], name: str) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row.language or name, []).append(row.text)
    return groups


def _count_changed(before: Tokenizer, after: Tokenizer, texts: list[str]) -> int:
    ids = (tokenizer.encode_batch(texts, at_start=True) for tokenizer in (before, after))
    return sum(old != new for old, new in zip(*ids, strict=True))


def estimate(config: Config) -> Estimate:
    """Estimate from the sizes of the files: read at about 2 MB a second, a sample in memory."""
    files = [Path(path) for path in (*config.corpus, *config.control)]
    text_bytes = sum(size_bytes(file) for file in files if file.exists())
    sampled = min(text_bytes, 4 * config.sample_characters)
    return Estimate(
        disk_bytes=20_000_000,
        memory_bytes=300_000_000 + 60 * sampled,
        seconds=5 + text_bytes / 2e6 + sampled / 2e5,
    )


STAGE = Stage(
    summary="Add pieces of a new language to the base tokenizer.",
    config=Config,
    run=run,
    outputs={
        "tokenizer": ("tokenizer", "tokenizer"),
        "fertility": ("fertility", "fertility.json"),
        "extension": ("extension", "extension.json"),
    },
    estimate=estimate,
    revision=2,
)
