"""How does a byte-level BPE tokenizer (LLaMA 3, Qwen) get tokens for a new language?

New merges are learned on a corpus that the base has encoded, and come after all merges of the base:
whatever the base merges it merges first, so ids change only where a new merge fires. That is kept
out of texts of the base language: what a new token stands for holds a character that they lack.

Three rules keep every new token of use. A merge never joins a whole character to a piece of the
next one. One that makes an entry there is already costs no entry, and is taken too. And in the end
every new token must occur in the encoding of some text, or a merge is taken back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.meter import Progress
from hanlin.tokenization import backend
from hanlin.tokenization.bpe_words import count_words, encode_words
from hanlin.tokenization.foreign import ForeignCharacters, is_one_word
from hanlin.tokenization.load import Tokenizer, from_content
from hanlin.tokenization.pair_counts import Pair, PairCounts
from hanlin.tokenization.utf8 import completions, is_continuation, open_end

log = logging.getLogger(__name__)

LEAST_COUNT = 2  # a pair that occurs once saves one token in the whole corpus
PROGRESS_EVERY = 100  # merges


@dataclass(frozen=True)
class ByteExtension:
    """What an extension added.

    Attributes:
        tokenizer: the extended one.
        added: bytes of the new tokens, in the order of their ids.
        saved: for each of them the tokens its merge saved in the corpus when it was made.
        duplicates: merges that make an entry there was already.
        could_move_base: frequent pairs passed over because base texts could hold them.
        unreachable: merges taken back because they left a token that no text is encoded to.
    """

    tokenizer: Tokenizer
    added: tuple[bytes, ...]
    saved: tuple[int, ...]
    duplicates: int
    could_move_base: int
    unreachable: int


def extend_byte_bpe(  # noqa: PLR0913 - every argument but the first three has a default
    base: Tokenizer,
    texts: Iterable[str],
    *,
    add: int,
    control: Iterable[str] = (),
    allow_changed: bool = False,
    whole_words: bool = True,
    progress: Progress = lambda _done, _total, _text: None,
) -> ByteExtension:
    """Learn merges on texts of a new language, on top of a tokenizer's own.

    Args:
        base: a byte-level BPE; its ids all stay.
        texts: the corpus, streamed; see `count_words`.
        add: tokens wanted: those that save the most tokens of the corpus, greedily.
        control: texts of the base language, whose ids must not change.
        allow_changed: also take merges that can fire in texts of the base language.
        whole_words: only tokens that are all letters or all signs; see `is_one_word`.
        progress: called with (tokens learned, wanted, text).

    Raises:
        InputError: the base is no byte-level BPE, or not one token can be added.
    """
    if not backend.is_byte_level(base.content):
        raise InputError(
            f"the tokenizer in {base.path} is no byte-level BPE",
            why="its pieces are characters, as in the SentencePiece models of LLaMA 1 and 2",
            fix="extend it by its tokenizer.model: give a folder that has one",
        )
    foreign = None if allow_changed else ForeignCharacters(control)
    corpus = encode_words(base, count_words(base, texts, is_ascii_wanted=allow_changed))
    banned: set[Pair] = set()
    while True:  # nearly always once, see `_Learned.last_user`
        rules = _Rules(base, foreign, banned, whole_words=whole_words)
        learned = _learn(PairCounts(*corpus), rules, add=add, progress=progress)
        _judge(learned, add=add, base=base)
        tokenizer = from_content(_appended(base, learned), settings=base.settings, path=base.path)
        lost = unreachable(tokenizer, first=base.vocab_size)
        if not lost:
            break
        banned |= {learned.last_user(token_id) for token_id in lost}
    return ByteExtension(
        tokenizer=tokenizer,
        added=tuple(learned.added),
        saved=tuple(learned.saved),
        duplicates=learned.duplicates,
        could_move_base=learned.refused,
        unreachable=len(banned),
    )


def unreachable(tokenizer: Tokenizer, *, first: int) -> list[int]:
    """Return the ids from `first` on that the encoding of no text holds, as far as can be told.

    A token of whole characters is tried with its own text; one that ends inside a character with
    all characters that begin so.
    """
    return [
        index
        for index in range(first, tokenizer.vocab_size)
        if not any(
            index in tokenizer.encode(text, at_start=False)
            for text in texts_with(tokenizer.bytes_of(index))
        )
    ]


def texts_with(token: bytes) -> Iterator[str]:
    """Yield the shortest texts that begin with the bytes of a token."""
    start = open_end(token)
    whole = token[: len(token) - len(start)].decode("utf-8", "replace")
    return (whole + end for end in (completions(start) if start else [""]))


@dataclass
class _Learned:
    """Merges in the order in which they were learned, with the ids that they make."""

    merges: dict[Pair, int] = field(default_factory=dict)
    added: list[bytes] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    duplicates: int = 0
    refused: int = 0

    def last_user(self, token_id: int) -> Pair:
        """Return the merge to take back so that a token is left over somewhere.

        The two bytes that 64 characters begin with are never left over if all of these have
        tokens: the rarest one of them gives up its own.
        """
        users = [pair for pair in self.merges if token_id in pair]
        makers = [pair for pair, made in self.merges.items() if made == token_id]
        return (users or makers)[-1]


def _learn(pairs: PairCounts, rules: _Rules, *, add: int, progress: Progress) -> _Learned:
    """Merge the most frequent pair that may be merged, until there are enough new tokens."""
    learned = _Learned()
    while len(learned.added) < add:
        found = pairs.best(least=LEAST_COUNT)
        if found is None:
            break
        pair, _ = found
        if not rules.allow(pair):
            pairs.drop(pair)
            continue
        text = rules.text_of(pair)
        is_new = text not in rules.ids
        token_id = rules.id_of(text)
        saved = pairs.merge(pair, token_id)
        learned.merges[pair] = token_id
        if not is_new:
            learned.duplicates += 1
            continue
        learned.added.append(text)
        learned.saved.append(saved)
        if len(learned.added) % PROGRESS_EVERY == 0:
            progress(len(learned.added), add, f"the last saves {saved} tokens")
    learned.refused = rules.unsafe
    return learned


class _Rules:
    """Which pairs may be merged, and what each merge makes; knows all tokens so far."""

    def __init__(
        self,
        base: Tokenizer,
        foreign: ForeignCharacters | None,
        banned: Collection[Pair],
        *,
        whole_words: bool,
    ) -> None:
        """Start with the tokens of the base; `foreign` is None where every text may change."""
        added = {token["id"] for token in base.content.get("added_tokens", ())}
        self.texts = [base.bytes_of(index) for index in range(base.vocab_size)]
        self.ids = {text: i for i, text in enumerate(self.texts) if text and i not in added}
        self.unsafe = 0
        self._foreign, self._banned, self._whole_words = foreign, banned, whole_words
        self._is_foreign_start: dict[bytes, bool] = {}

    def allow(self, pair: Pair) -> bool:
        """Tell whether a pair may be merged, and count those that texts of the base may hold."""
        if pair in self._banned or not self._is_whole(pair):
            return False
        is_safe = self._foreign is None or self._is_safe(self.text_of(pair), self._foreign)
        self.unsafe += not is_safe
        return is_safe

    def text_of(self, pair: Pair) -> bytes:
        """Return what a merge would stand for."""
        return self.texts[pair[0]] + self.texts[pair[1]]

    def id_of(self, text: bytes) -> int:
        """Return the id of a token, the next free one for a new token."""
        if text not in self.ids:
            self.ids[text] = len(self.texts)
            self.texts.append(text)
        return self.ids[text]

    def _is_whole(self, pair: Pair) -> bool:
        """Tell whether a merge makes whole characters, or goes on with one that is open."""
        text = self.text_of(pair)
        if is_continuation(text[0]):
            return False
        if open_end(text):
            return bool(open_end(self.texts[pair[0]]))
        whole = text.decode()
        return not self._whole_words or len(whole) == 1 or is_one_word(whole)

    def _is_safe(self, text: bytes, foreign: ForeignCharacters) -> bool:
        """Tell whether the bytes of a token can never occur in texts of the base language."""
        start = open_end(text)
        whole = text[: len(text) - len(start)].decode()
        if any(character in foreign for character in whole):
            return True
        if start not in self._is_foreign_start:
            every = all(c in foreign for c in completions(start)) if start else False
            self._is_foreign_start[start] = every
        return self._is_foreign_start[start]


def _judge(learned: _Learned, *, add: int, base: Tokenizer) -> None:
    if not learned.added:
        raise InputError(
            f"not one token can be added to the tokenizer in {base.path}",
            why="no two tokens that hold a character of another script follow each other twice in "
            f"the corpus; {learned.refused} pairs could occur in the base language",
            fix="give texts of a language in another script, or more of them",
        )
    if len(learned.added) < add:
        log.warning(
            "%d tokens were added, not %d: the texts hold no more that can be; give more text",
            len(learned.added), add,
        )  # fmt: skip


def _appended(base: Tokenizer, learned: _Learned) -> dict[str, Any]:
    """Return the `tokenizer.json` with the new entries and merges behind the old ones.

    Special tokens become entries of the model too: a reader numbers those that are not by the
    count of entries, and would move them now.
    """
    model = base.content["model"]
    vocab = dict(backend.vocabulary(base.content))
    pieces = {index: piece for piece, index in vocab.items()}
    as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
    merges = list(model["merges"])
    for (left, right), made in learned.merges.items():
        pair = [pieces[left], pieces[right]]
        merges.append(" ".join(pair) if as_text else pair)
        pieces.setdefault(made, pieces[left] + pieces[right])
        vocab[pieces[made]] = made
    return base.content | {"model": model | {"vocab": vocab, "merges": merges}}
