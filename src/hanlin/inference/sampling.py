"""How is the next token chosen? Greedy, or by temperature, top-k and top-p.

Axes: B prompts, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hanlin.core.stage import derive_seed
from hanlin.inference.engine import Sampling


def generators(sampling: Sampling, count: int) -> list[torch.Generator]:
    """Return a random stream for each prompt, so that no answer depends on its neighbors."""
    seeds = (derive_seed(sampling.seed, f"answer/{index}") for index in range(count))
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def choose(
    logits_BV: torch.Tensor, sampling: Sampling, streams: Sequence[torch.Generator]
) -> list[int]:
    """Return the next token of each prompt."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1).tolist()
    probabilities_BV = distribution(logits_BV, sampling).cpu()
    return [
        int(torch.multinomial(row_V, 1, generator=stream))
        for row_V, stream in zip(probabilities_BV, streams, strict=True)
    ]


def distribution(logits_BV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Return the probabilities [B, V] that a token is drawn from; temperature is above 0."""
    logits_BV = logits_BV.float() / sampling.temperature
    if 0 < sampling.top_k < logits_BV.shape[-1]:
        least_B = logits_BV.topk(sampling.top_k).values[:, -1]
        logits_BV = logits_BV.masked_fill(logits_BV < least_B[:, None], -torch.inf)
    if sampling.top_p < 1:
        sorted_BV, order_BV = logits_BV.sort(descending=True)
        share_BV = sorted_BV.softmax(-1)
        is_cut_BV = share_BV.cumsum(-1) - share_BV >= sampling.top_p
        is_cut_BV[:, 0] = False  # the most likely token stays, whatever rounding does
        is_cut_BV = is_cut_BV.scatter(-1, order_BV, is_cut_BV)
        logits_BV = logits_BV.masked_fill(is_cut_BV, -torch.inf)
    return logits_BV.softmax(-1)
