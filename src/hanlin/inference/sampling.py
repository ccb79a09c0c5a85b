"""How is the next token chosen? The best one, or one drawn from a distribution.

Order and meaning of all settings are those of transformers' logits processors and warpers; presence
and frequency penalties, which it does not have, are OpenAI's.
Axes: R rows (one for each sequence), V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch

from hanlin.core.stage import derive_seed
from hanlin.inference.engine import Sampling, TokenLogprob


def generator(sampling: Sampling, index: int) -> torch.Generator:
    """Return the random stream of one prompt of a batch."""
    return torch.Generator().manual_seed(derive_seed(sampling.seed, f"answer/{index}"))


def choose(
    scores_RV: torch.Tensor, samplings: Sequence[Sampling], streams: Sequence[torch.Generator]
) -> list[int]:
    """Return the next token of each row, chosen by the row's own sampling."""
    tokens: list[int] = scores_RV.argmax(-1).tolist()
    alike: dict[tuple[float, ...], list[int]] = {}
    for row, sampling in enumerate(samplings):
        if sampling.temperature > 0:
            key = (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p)
            alike.setdefault(key, []).append(row)
    for rows in alike.values():
        drawn_from = distribution(scores_RV[rows], samplings[rows[0]]).cpu()
        for row, probabilities_V in zip(rows, drawn_from, strict=True):
            tokens[row] = int(torch.multinomial(probabilities_V, 1, generator=streams[row]))
    return tokens


def distribution(scores_RV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Return the probabilities [R, V] that a token is drawn from; temperature is above 0."""
    return warp(scores_RV.float(), sampling).softmax(-1)


def warp(scores_RV: torch.Tensor, sampling: Sampling, *, min_keep: int = 1) -> torch.Tensor:
    """Return the scores divided by the temperature, -inf where a token may not be drawn.

    Args:
        scores_RV: logits or log-probabilities.
        sampling: its temperature, top_k, top_p and min_p are used.
        min_keep: tokens that each rule leaves at least, the most likely ones.
    """
    scores_RV = scores_RV / sampling.temperature
    num_entries = scores_RV.shape[-1]
    top_k, min_keep = max(sampling.top_k, min_keep), min(min_keep, num_entries)
    if sampling.top_k and top_k < num_entries:
        least_R = scores_RV.topk(top_k).values[:, -1]
        scores_RV = scores_RV.masked_fill(scores_RV < least_R[:, None], -torch.inf)
    if sampling.top_p < 1:
        sorted_RV, order_RV = scores_RV.sort(descending=False)
        is_cut_RV = sorted_RV.softmax(-1).cumsum(-1) <= 1 - sampling.top_p
        is_cut_RV[:, -min_keep:] = False
        is_cut_RV = is_cut_RV.scatter(-1, order_RV, is_cut_RV)
        scores_RV = scores_RV.masked_fill(is_cut_RV, -torch.inf)
    if sampling.min_p > 0:
        share_RV = scores_RV.softmax(-1)
        is_cut_RV = share_RV < sampling.min_p * share_RV.amax(-1, keepdim=True)
        is_cut_RV.scatter_(-1, share_RV.topk(min_keep).indices, value=False)
        scores_RV = scores_RV.masked_fill(is_cut_RV, -torch.inf)
    return scores_RV


def penalized(
    scores_V: torch.Tensor, sampling: Sampling, *, prompt: Collection[int], answer: Sequence[int]
) -> torch.Tensor:
    """Return scores with the penalties for tokens that are there already.

    Args:
        scores_V: logits or log-probabilities; not changed.
        sampling: its three penalties are used.
        prompt: tokens of the prompt, each once or more.
        answer: tokens of the answer so far.
    """
    if sampling.repetition_penalty != 1:
        ids = torch.tensor(sorted({*prompt, *answer}), device=scores_V.device)
        score = scores_V[ids]
        penalty = sampling.repetition_penalty
        scores_V = scores_V.index_put(
            (ids,), torch.where(score < 0, score * penalty, score / penalty)
        )
    if answer and (sampling.presence_penalty or sampling.frequency_penalty):
        ids, counts = torch.tensor(answer, device=scores_V.device).unique(return_counts=True)
        less = sampling.presence_penalty + sampling.frequency_penalty * counts
        scores_V = scores_V.index_put((ids,), scores_V[ids] - less)
    return scores_V


def token_logprob(
    log_probs_V: torch.Tensor, token_id: int, *, num_top: int, bytes_of: Callable[[int], bytes]
) -> TokenLogprob:
    """Return how likely a token was, and which ones were the most likely.

    Args:
        log_probs_V: the model's log-probabilities.
        token_id: the token that was chosen.
        num_top: how many of the most likely ones are wanted.
        bytes_of: gives the bytes of a token.
    """
    values, ids = log_probs_V.topk(min(num_top, len(log_probs_V)))
    top = tuple((i, bytes_of(i), v) for i, v in zip(ids.tolist(), values.tolist(), strict=True))
    return TokenLogprob(token_id, bytes_of(token_id), float(log_probs_V[token_id]), top)
