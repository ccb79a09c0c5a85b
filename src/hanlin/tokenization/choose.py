"""Which pieces save the most tokens of a corpus, if only so many can be added?

The first merges of a byte-pair encoding are not the best ones: steps on the way to longer pieces
stay in the vocabulary when nothing is left for them to do, and characters have to be weighed
against words. So pieces are grown and pruned in turn: neighbors that often stand together become
pieces, so do characters that are spelled in bytes, and those that save the least are taken back.
On four Chinese texts, 10,000 pieces need 0.6 % fewer tokens so, and 1,500 need 0.3 % fewer
(`benchmarks/tokenizer_pieces.py`; as much on texts that they were not chosen by).
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from hanlin.tokenization import sentencepiece
from hanlin.tokenization.equal_scores import score_above
from hanlin.tokenization.pieces import reachable
from hanlin.tokenization.sentencepiece import BYTE, NORMAL
from hanlin.tokenization.sentencepiece_json import tied

if TYPE_CHECKING:
    import numpy as np

MOST_CHARACTERS = 16  # of a piece, as SentencePiece has it
LEAST_SAVED = 2  # tokens; less can be chance
FIRST, FIRST_SHARE = 64, 1 / 16  # pieces in the first round, or share of all of them
GROWTH = 1.4  # how many times as many pieces in each next round
SPARE, LEAST_SPARE = 0.0125, 0.002  # share of the pieces that is tried anew in a round
REFINEMENTS = 5

Progress = Callable[[int, int, str], None]


def choose_pieces(
    base: Any,  # noqa: ANN401 - a ModelProto
    lines: Sequence[str],
    *,
    add: int,
    may_add: Callable[[str], bool],
    progress: Progress = lambda _done, _total, _text: None,
) -> list[str]:
    """Return pieces that make a corpus short, in the order in which they have to be merged.

    Args:
        base: a BPE ModelProto.
        lines: the corpus, all of it in memory.
        add: most pieces.
        may_add: tells whether a text may become a piece.
        progress: called with (pieces so far, pieces in the end, text).
    """
    corpus, chosen = _Corpus(base, lines, may_add), list[str]()
    while len(chosen) < add:
        goal = min(add, max(FIRST, int(FIRST_SHARE * add), int(GROWTH * len(chosen))))
        more = corpus.candidates(chosen, most=goal - len(chosen) + int(SPARE * goal))
        grown = corpus.pruned([*chosen, *more], goal)
        if len(grown) <= len(chosen):
            break
        chosen = grown
        progress(len(chosen), add, f"{len(chosen)} pieces grown")
    tokens, spare = corpus.count_tokens(chosen), SPARE
    for number in range(REFINEMENTS):
        more = corpus.candidates(chosen, most=max(1, int(spare * add)))
        other = corpus.pruned([*chosen, *more], add)
        fewer = corpus.count_tokens(other)
        if fewer < tokens:
            chosen, tokens = other, fewer
        elif spare > LEAST_SPARE:
            spare /= 2
        else:
            break
        progress(number + 1, REFINEMENTS, f"{tokens} tokens with {len(chosen)} pieces")
    return chosen


class _Corpus:
    """Lines that are encoded again and again, each time with other pieces added."""

    def __init__(
        self,
        base: Any,  # noqa: ANN401 - a ModelProto
        lines: Sequence[str],
        may_add: Callable[[str], bool],
    ) -> None:
        self._base, self._lines, self._may_add = base, list(lines), may_add
        self._old = {piece.piece for piece in base.pieces}
        self._scores = {p.piece: p.score for p in base.pieces if p.type == NORMAL}
        self._lowest = min(self._scores.values(), default=0.0)
        self._score = score_above(base) if tied(base) else None  # of all pieces; None: each its own
        byte_ids = sentencepiece.ids_of_type(base, BYTE)
        self._byte_of = {i: int(base.pieces[i].piece[3:5], 16) for i in byte_ids}

    def candidates(self, pieces: Sequence[str], *, most: int) -> list[str]:
        """Return the texts that would save the most tokens at once, best first."""
        ids = self._encode(pieces)
        texts = [*(piece.piece for piece in self._base.pieces), *pieces]
        saved = self._bytes_saved(ids)
        for (left, right), count in self._pairs(ids, len(texts), most):
            text = texts[left] + texts[right]
            if len(text) <= MOST_CHARACTERS:
                saved[text] = max(saved[text], count)
        known = self._old.union(pieces)
        ranked = sorted(saved, key=lambda text: (-saved[text], text))
        good = (t for t in ranked if saved[t] >= LEAST_SAVED and t not in known)
        return [text for text, _ in zip(filter(self._may_add, good), range(most), strict=False)]

    def pruned(self, pieces: Sequence[str], goal: int) -> list[str]:
        """Return at most `goal` of the pieces: those are gone that save the least, or nothing."""
        pieces = reachable(self._base, list(pieces), score=self._score)
        saved, ways = self._saved(pieces)
        users: dict[str, set[str]] = defaultdict(set)
        for piece, way in ways.items():
            for part in way:
                users[part].add(piece)
        limit = sorted([*saved.values(), 0])[max(0, len(pieces) - goal)]

        def worth(piece: str) -> float:
            """Return what a piece saves, or on average with the useless ones only it needs."""
            own = [p for p in ways[piece] if users[p] == {piece} and saved[p] < limit]
            return (saved[piece] + sum(saved[p] for p in own)) / (1 + len(own))

        left = dict.fromkeys(pieces)
        heap = [(worth(piece), piece) for piece in pieces if not users[piece]]
        heapq.heapify(heap)
        while heap and (len(left) > goal or heap[0][0] < LEAST_SAVED):
            _, piece = heapq.heappop(heap)
            del left[piece]
            for part in ways[piece]:
                users[part].discard(piece)
                if not users[part]:
                    heapq.heappush(heap, (worth(part), part))
        return reachable(self._base, list(left), score=self._score)

    def count_tokens(self, pieces: Sequence[str]) -> int:
        """Return how many tokens the corpus has with some pieces added."""
        return int((self._encode(pieces) >= 0).sum())

    def _encode(self, pieces: Sequence[str]) -> np.ndarray:
        """Return the ids of all lines, -1 after each."""
        import numpy as np

        model = sentencepiece.appended(self._base, pieces, score=self._score)
        processor = sentencepiece.processor(model, dummy_prefix=False)
        encoded = processor.encode(self._lines)
        return np.fromiter(chain.from_iterable((*ids, -1) for ids in encoded), dtype=np.int64)

    def _pairs(
        self, ids: np.ndarray, vocab_size: int, most: int
    ) -> Iterable[tuple[tuple[int, int], int]]:
        """Yield frequent neighbors that are no bytes, with their counts."""
        import numpy as np

        is_piece = (ids >= 0) & ~np.isin(ids, list(self._byte_of))
        both = is_piece[:-1] & is_piece[1:]
        codes, counts = np.unique(ids[:-1][both] * vocab_size + ids[1:][both], return_counts=True)
        best = np.argsort(-counts, kind="stable")[: 10 * most + 10_000]  # most may not be added
        for code, count in zip(codes[best].tolist(), counts[best].tolist(), strict=True):
            yield divmod(code, vocab_size), count

    def _bytes_saved(self, ids: np.ndarray) -> Counter[str]:
        """Return character -> tokens saved if it were a piece and not spelled in bytes."""
        import numpy as np

        table = np.full(int(ids.max(initial=0)) + 2, 10, dtype=np.uint8)  # 10: no byte, a new line
        for index, byte in self._byte_of.items():
            if index < len(table) - 1:
                table[index] = byte  # the last entry stays for -1
        text = table[ids].tobytes().decode("utf-8", errors="replace")
        counts = Counter(text)
        return Counter({c: n * (len(c.encode()) - 1) for c, n in counts.items() if c > "\x7f"})

    def _saved(self, pieces: Sequence[str]) -> tuple[dict[str, int], dict[str, list[str]]]:
        """Return how many tokens each piece saves, and the other pieces on the way to it."""
        import numpy as np

        ids = self._encode(pieces)
        counts = np.bincount(ids[ids >= 0], minlength=len(self._base.pieces) + len(pieces))
        scores = self._scores | {
            piece: self._lowest - 1 - i if self._score is None else self._score
            for i, piece in enumerate(pieces)
        }
        new, saved, ways = set(pieces), {}, {}
        for piece, count in zip(pieces, counts[len(self._base.pieces) :].tolist(), strict=True):
            way, _ = _merged(piece, scores)
            parts = dict.fromkeys((*piece, *way))
            ways[piece] = [part for part in parts if part in new and part != piece]
            score = scores.pop(piece)
            tokens = len(piece.encode()) if len(piece) == 1 else len(_merged(piece, scores)[1])
            scores[piece] = score
            saved[piece] = count * (tokens - 1)
        return saved, ways


def _merged(text: str, scores: dict[str, float]) -> tuple[list[str], list[str]]:
    """Merge the characters of a text as SentencePiece does; return all that is made, and the end.

    Of two neighbors, those whose union has the highest score come first, and of equals the left.
    """
    parts, made = list(text), list[str]()
    while len(parts) > 1:
        unions = [left + right for left, right in pairwise(parts)]
        ranked = [(-scores[union], i) for i, union in enumerate(unions) if union in scores]
        if not ranked:
            break
        _, at = min(ranked)
        made.append(unions[at])
        parts[at : at + 2] = [unions[at]]
    return made, parts
