"""Which old rows is the row of a new token made of, and how much of each?

Every rule gives a weighted sum of old rows and some noise, so that a table is grown as a stream.
What the rules are worth is measured by benchmarks/tokenizer_growth.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.utf8 import open_end

if TYPE_CHECKING:
    import torch

# N new rows, E old rows that they name in all
TWIN_NOISE = 0.01  # of the table's standard deviation: enough to tell twins apart, no more
# exp(2 k) for the k-th old token: Nakash et al. 2025, "AdaptiVocab", and its published code.
STEEPNESS = 2.0

Init = Literal["mean", "exponential", "global-mean", "random"]
Side = Literal["input", "output", "both"]


@dataclass(frozen=True)
class Recipe:
    """How new rows are made of old ones; where it names none, of the mean of all.

    Attributes:
        starts: [N + 1], where the part of each new row begins in the other two.
        ids: [E], old rows.
        weights: [E], of each old row.
        noise: [N], in standard deviations of the old rows.
    """

    starts: torch.Tensor
    ids: torch.Tensor
    weights: torch.Tensor
    noise: torch.Tensor

    def __len__(self) -> int:
        return len(self.noise)

    @classmethod
    def of_nothing(cls, count: int, *, noise: float) -> Recipe:
        """Return one for rows that are the mean of all old ones."""
        import torch

        none = torch.zeros(0)
        starts = torch.zeros(count + 1, dtype=torch.int64)
        return cls(starts, none.long(), none, torch.full((count,), noise))

    def rows(self, first: int, last: int) -> Recipe:
        """Return the part for new rows `first` to `last`."""
        begin, end = int(self.starts[first]), int(self.starts[last])
        starts = self.starts[first : last + 1] - begin
        return Recipe(starts, self.ids[begin:end], self.weights[begin:end], self.noise[first:last])


def old_parts(old: Tokenizer, new: Tokenizer) -> list[list[int]]:
    """Return for every new entry the old ids that its text was written with so far.

    Special tokens have none. A token that ends inside a character is taken apart there.
    """
    ids = {old.bytes_of(index): index for index in range(old.vocab_size)}
    parts = []
    for index in range(old.vocab_size, new.vocab_size):
        text = new.bytes_of(index)
        rest = open_end(text)
        whole = text[: len(text) - len(rest)].decode("utf-8", "replace")
        parts.append([*old.encode(whole, at_start=False), *_spelled(rest, ids)])
    return parts


def _spelled(text: bytes, ids: dict[bytes, int]) -> Iterator[int]:
    """Yield the ids of some bytes, the longest entry first."""
    while text:
        length = next((n for n in range(len(text), 0, -1) if text[:n] in ids), 1)
        if text[:length] in ids:
            yield ids[text[:length]]
        text = text[length:]


def recipe(parts: Sequence[Sequence[int]], init: Init, *, side: Side) -> Recipe:
    """Return how the new rows of a table are made.

    "mean" is the mean of the old tokens' rows (Gee et al. 2022, "Fast vocabulary transfer");
    "exponential" gives the last of them most of the weight in the embeddings, where it stands
    for all before it, and the first one in the lm_head, where it is what has to be predicted
    (Nakash et al. 2025, "AdaptiVocab"); "global-mean" is the mean of all old rows, "random"
    follows their mean and standard deviation. Rows that would be equal are told apart by noise.

    Args:
        parts: for every new entry the old ids that it is made of.
        init: the rule.
        side: "input" for embeddings, "output" for the lm_head, "both" where they are one matrix.
    """
    import torch

    is_summed = init in ("mean", "exponential")
    kept = [tuple(ids) if is_summed else () for ids in parts]
    lengths = torch.tensor([0, *map(len, kept)])
    weights = [_weights(len(ids), init, side) for ids in kept]
    noise = torch.full((len(parts),), 1.0 if init == "random" else 0.0)
    if init != "random":
        noise[twins(kept, is_ordered=init == "exponential")] = TWIN_NOISE
    return Recipe(
        starts=lengths.cumsum(0),
        ids=torch.tensor([index for ids in kept for index in ids], dtype=torch.int64),
        weights=torch.tensor([w for row in weights for w in row], dtype=torch.float32),
        noise=noise,
    )


def _weights(count: int, init: Init, side: Side) -> list[float]:
    if init == "mean":
        return [1 / count] * count if count else []
    last_E = [math.exp(STEEPNESS * (k - count)) for k in range(1, count + 1)]
    last_E = [weight / sum(last_E) for weight in last_E]
    if side == "input":
        return last_E
    if side == "output":
        return last_E[::-1]
    return [(a + b) / 2 for a, b in zip(last_E, reversed(last_E), strict=True)]


def twins(parts: Sequence[tuple[int, ...]], *, is_ordered: bool) -> torch.Tensor:
    """Return [N] bool: entries made of the same old ids as another, whose rows would be equal.

    Args:
        parts: the old ids of each entry.
        is_ordered: the same ids in another order make another row.
    """
    import torch

    keys = [ids if is_ordered else tuple(sorted(ids)) for ids in parts]
    counts = Counter(keys)
    return torch.tensor([counts[key] > 1 for key in keys], dtype=torch.bool)
