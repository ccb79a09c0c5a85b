"""How are many continuations scored without computing their shared beginnings again and again?

All requests are folded into a trie (`inference/trie.py`) and each token of it is computed once: the
examples of a subject, each question, each option. The trie is walked depth first in long rows;
between two rows the keys and values of the path to the next are kept, and in a row a token attends
to its own path only and has its depth as position. The values equal those of each sequence alone
(tests/parity/test_parity_scoring.py).

Axes: R rows, T tokens of a row, N scored positions, P places of a row with a scored position,
H hidden size, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from hanlin.core.errors import InputError
from hanlin.inference import tree_attention
from hanlin.inference.engine import ScoreRequest
from hanlin.inference.path_cache import PathCache
from hanlin.inference.trie import Segment, Trie, above, build, cut

MAX_LOGITS = 1 << 22  # 16 MiB in float32
MAX_STATES = 1 << 30  # keys and values of a row, in bytes
ALONE_TOKENS = 2048  # of a batch of whole sequences
ATTENTION = {"full_attention", "sliding_attention"}


class Sizes(NamedTuple):
    """How much is computed at once, in tokens.

    Attributes:
        row: of one pass through the model: large matrix products use a processor better.
        chunk: of a row, that attend at once: attention over branches grows with its square.
    """

    row: int
    chunk: int


SIZES = {"cpu": Sizes(2048, 256), "cuda": Sizes(4096, 4096)}
PLAIN_SIZES = Sizes(384, 384)  # where a model takes a mask only: attention is over the whole row


class Score(NamedTuple):
    """What is found about one continuation.

    Attributes:
        log_likelihood: of all its tokens after the prefix, in nats.
        is_greedy: whether each of its tokens is the most likely one.
    """

    log_likelihood: float
    is_greedy: bool


@dataclass
class Work:
    """What was computed.

    Attributes:
        computed: tokens that went through the model.
        distinct: tokens in the tries of all calls, the least that could be computed.
    """

    computed: int = 0
    distinct: int = 0


def score_requests(
    model: PreTrainedModel,
    requests: Sequence[ScoreRequest],
    *,
    max_length: int,
    work: Work | None = None,
) -> list[Score]:
    """Return the log-likelihood of each continuation, and whether it is the greedy one.

    Args:
        model: a causal language model. One whose attention cannot follow a tree (a window shorter
            than a sequence, recurrent layers, relative biases) computes each sequence alone.
        requests: (prefix, continuation) as token ids; a prefix has at least one token.
        max_length: positions that the model has.
        work: counts what is computed.

    Raises:
        InputError: a sequence is longer than the model's context.
    """
    _check(requests, max_length)
    scores = _Scores(np.zeros(len(requests)), np.ones(len(requests), dtype=bool))
    trie = build(requests)
    longest = max((len(sequence) - 1 for sequence in trie.sequences), default=0)
    work = work or Work()
    work.distinct += trie.num_tokens
    with torch.inference_mode():
        if follows_trees(model, longest):
            _score_trie(model, trie, scores=scores, work=work)
        else:
            _score_alone(model, trie, scores=scores, work=work)
    return list(map(Score, scores.log_likelihoods.tolist(), scores.is_greedy.tolist()))


@dataclass(frozen=True)
class _Scores:
    """What was found so far about each request."""

    log_likelihoods: np.ndarray
    is_greedy: np.ndarray


def follows_trees(model: PreTrainedModel, longest: int) -> bool:
    """Return whether a model takes a mask and positions of a tree, for sequences up to a length."""
    config = model.config.get_text_config()
    parameters = inspect.signature(model.get_decoder().forward).parameters
    layers = set(getattr(config, "layer_types", None) or ATTENTION)
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    rope = str(getattr(config, "rope_parameters", None) or "")
    return (
        {"position_ids", "past_key_values"} <= parameters.keys()
        and config._attn_implementation in ("sdpa", "eager")
        and layers <= ATTENTION
        and not getattr(model, "_is_stateful", False)
        and not getattr(config, "alibi", False)
        and not getattr(config, "num_kv_shared_layers", 0)
        and not any(kind in rope for kind in ("'dynamic'", "'longrope'"))
        and (window is None or longest <= window)
    )


def _check(requests: Sequence[ScoreRequest], max_length: int) -> None:
    for prefix, continuation in requests:
        assert len(prefix), "a prefix has at least one token, for example bos"
        length = len(prefix) + len(continuation) - 1
        if length > max_length:
            raise InputError(
                f"a text to score has {length} tokens",
                why=f"the model's context holds {max_length}",
                fix="use shorter texts, fewer examples, or a model with a longer context",
            )


def _score_trie(model: PreTrainedModel, trie: Trie, *, scores: _Scores, work: Work) -> None:
    sizes = _sizes(model)
    rows = list(cut(trie.segments, max_tokens=sizes.row))
    lengths = [sum(segment.end - segment.start for segment in row) for row in rows]
    capacity = max((row[0].start + n for row, n in zip(rows, lengths, strict=True)), default=0)
    cache = PathCache(model.config.get_text_config().num_hidden_layers, capacity=capacity)
    for number, row in enumerate(rows):
        if number:  # the path to this row's first token runs through the row before
            *_, path = above([*rows[number - 1], row[0]])
            cache.keep(path)
        hidden_TH = _forward(model, trie, row, chunk=sizes.chunk, cache=cache)
        work.computed += len(hidden_TH)
        _add_scores(model, hidden_TH, _targets(trie, row), scores=scores)


def _sizes(model: PreTrainedModel) -> Sizes:
    """Return the sizes for a model and its device; rows of a large model are shorter."""
    if not tree_attention.takes_chunks(model):
        return PLAIN_SIZES
    config = model.config.get_text_config()
    bytes_of_token = 2 * config.num_hidden_layers * config.hidden_size * model.dtype.itemsize
    sizes = SIZES.get(model.device.type, SIZES["cpu"])
    return sizes._replace(row=max(1, min(sizes.row, MAX_STATES // bytes_of_token)))


def _forward(
    model: PreTrainedModel, trie: Trie, row: Sequence[Segment], *, chunk: int, cache: PathCache
) -> torch.Tensor:
    """Return the last hidden states [T, H] of a row."""
    ids_T = np.concatenate([trie.ids(segment) for segment in row])
    depths_T = np.concatenate([np.arange(segment.start, segment.end) for segment in row])
    like = torch.empty(0, dtype=model.dtype, device=model.device)
    is_chunked = tree_attention.takes_chunks(model)
    chunks = tree_attention.chunks(row, max_tokens=chunk, like=like)
    with tree_attention.in_chunks(model, chunks) if is_chunked else nullcontext():
        states: torch.Tensor = model.get_decoder()(
            input_ids=torch.from_numpy(ids_T)[None].to(model.device),
            position_ids=torch.from_numpy(depths_T)[None].to(model.device),
            attention_mask=None if is_chunked else chunks[0].mask,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
    return states[0]


def _targets(trie: Trie, row: Sequence[Segment]) -> np.ndarray:
    """Return (place in the row, next token, request) of what is scored [N, 3]."""
    found, place = [], 0
    for segment in row:
        targets = trie.targets(segment)
        targets[:, 0] += place - segment.start
        found.append(targets)
        place += segment.end - segment.start
    return np.concatenate(found)


def _score_alone(model: PreTrainedModel, trie: Trie, *, scores: _Scores, work: Work) -> None:
    """Score each sequence in a row of its own; equal inputs once."""
    groups: dict[bytes, list[int]] = {}
    for number, sequence in enumerate(trie.sequences):
        groups.setdefault(sequence[:-1].tobytes(), []).append(number)
    by_length = sorted(groups.values(), key=lambda group: len(trie.sequences[group[0]]))
    for batch in _batches(by_length, trie):
        inputs = [trie.sequences[group[0]][:-1] for group in batch]
        length = max(map(len, inputs))
        ids_RT = np.zeros((len(batch), length), dtype=np.int64)
        mask_RT = np.zeros((len(batch), length), dtype=np.int64)
        for row, ids in enumerate(inputs):  # padded right: nothing scored sees the padding
            ids_RT[row, : len(ids)], mask_RT[row, : len(ids)] = ids, 1
        hidden_RTH = model.get_decoder()(
            input_ids=torch.from_numpy(ids_RT).to(model.device),
            attention_mask=torch.from_numpy(mask_RT).to(model.device),
            use_cache=False,
        ).last_hidden_state
        work.computed += int(mask_RT.sum())
        for row, group in enumerate(batch):
            targets = [_own_targets(trie, number) for number in group]
            _add_scores(model, hidden_RTH[row], np.concatenate(targets), scores=scores)


def _own_targets(trie: Trie, number: int) -> np.ndarray:
    sequence = trie.sequences[number]
    places = np.arange(trie.scored_from[number], len(sequence) - 1)
    owner = np.full(len(places), trie.requests[number])
    return np.stack([places, sequence[places + 1], owner], axis=1)


def _batches(groups: Sequence[list[int]], trie: Trie) -> Iterator[list[list[int]]]:
    """Yield rows of similar length; the longest, which comes last, decides the padding."""
    batch: list[list[int]] = []
    for group in groups:
        if batch and len(trie.sequences[group[0]]) * (len(batch) + 1) > ALONE_TOKENS:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _add_scores(
    model: PreTrainedModel, hidden_TH: torch.Tensor, targets: np.ndarray, *, scores: _Scores
) -> None:
    """Add the log-probability of each (place, next token, request) to the request's score."""
    if not len(targets):
        return
    targets = targets[np.argsort(targets[:, 0], kind="stable")]
    # Options share places, and the logits of a place are wanted once.
    places, which_N = np.unique(targets[:, 0], return_inverse=True)
    hidden_PH = hidden_TH[torch.from_numpy(places).to(hidden_TH.device)]
    step = max(1, MAX_LOGITS // model.config.get_text_config().vocab_size)
    for start in range(0, len(places), step):
        logits_PV = _logits(model, hidden_PH[start : start + step])
        low, high = np.searchsorted(which_N, [start, start + step])
        part = targets[low:high]
        values_N, is_best_N = _pick(logits_PV, which_N[low:high] - start, tokens_N=part[:, 1])
        np.add.at(scores.log_likelihoods, part[:, 2], values_N)
        np.logical_and.at(scores.is_greedy, part[:, 2], is_best_N)


def _pick(
    logits_PV: torch.Tensor, places_N: np.ndarray, *, tokens_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each token's log-probability and whether it is the best one [N]; spoils the logits."""
    device = logits_PV.device
    place, token = torch.from_numpy(places_N).to(device), torch.from_numpy(tokens_N).to(device)
    picked_N, best_P = logits_PV[place, token], logits_PV.argmax(-1)
    top_P = logits_PV.gather(1, best_P[:, None])
    # In place and by hand: torch.logsumexp took five times as long as the logits themselves.
    totals_P = logits_PV.sub_(top_P).exp_().sum(-1).log_() + top_P[:, 0]
    values_N = (picked_N - totals_P[place]).double().cpu().numpy()
    return values_N, (best_P[place] == token).cpu().numpy()


def _logits(model: PreTrainedModel, hidden_PH: torch.Tensor) -> torch.Tensor:
    """Return the logits [P, V] in float32, scaled and capped as the model's own forward does."""
    config = model.config.get_text_config()
    logits_PV: torch.Tensor = model.get_output_embeddings()(hidden_PH).float()
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits_PV = logits_PV * scale
    if scale := getattr(config, "logits_scaling", None):  # Granite
        logits_PV = logits_PV / scale
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
        logits_PV = torch.tanh(logits_PV / cap) * cap
    return logits_PV
