"""How are many continuations scored without computing their shared beginnings again and again?

All requests are folded into a trie (`inference/trie.py`) and each token of it is computed once: the
examples of a subject, each question, each option. The keys and values of a path with much below it
are kept; small subtrees share a row, in which a token attends to its ancestors and has its depth as
position. The values equal those of each sequence alone (tests/parity/test_parity_scoring.py).

Axes: R rows, T tokens of a row, N scored positions, P places of a row with a scored position,
H hidden size, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from hanlin.core.errors import InputError
from hanlin.inference.engine import ScoreRequest
from hanlin.inference.path_cache import PathCache
from hanlin.inference.trie import Step, Trie, build, steps

MAX_TOKENS = {"cpu": 384, "cuda": 4096}  # of a row: attention over branches grows with its square
MAX_LOGITS = 1 << 22  # 16 MiB in float32
ATTENTION = {"full_attention", "sliding_attention"}


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
) -> list[float]:
    """Return the log-likelihood of each continuation after its prefix, in nats.

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
    scores = np.zeros(len(requests))
    budget = MAX_TOKENS.get(model.device.type, MAX_TOKENS["cpu"])
    trie = build(requests, max_segment=budget)
    longest = max((len(sequence) - 1 for sequence in trie.sequences), default=0)
    work = work or Work()
    work.distinct += trie.num_tokens
    with torch.inference_mode():
        if follows_trees(model, longest):
            _score_trie(model, trie, budget=budget, scores=scores, work=work)
        else:
            _score_alone(model, trie, budget=budget, scores=scores, work=work)
    return scores.tolist()


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


def _score_trie(
    model: PreTrainedModel, trie: Trie, *, budget: int, scores: np.ndarray, work: Work
) -> None:
    plan = list(steps(trie, max_tokens=budget))  # kept steps follow from it alone
    capacity = max((_end(trie, step) for step in plan), default=0)
    cache = PathCache(model.config.get_text_config().num_hidden_layers, capacity=capacity)
    for step in plan:
        ids_T, depths_T, targets = _row(trie, step)
        cache.rewind(step.past)
        hidden_TH = model.get_decoder()(
            input_ids=torch.from_numpy(ids_T)[None].to(model.device),
            position_ids=torch.from_numpy(depths_T)[None].to(model.device),
            attention_mask=_as_mask(model, tree_mask(trie, step)[None]),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[0]
        work.computed += len(ids_T)
        _add_scores(model, hidden_TH, targets, scores=scores)


def _end(trie: Trie, step: Step) -> int:
    segments = [trie.segments[number] for number in step.segments]
    return step.past + sum(segment.end - segment.start for segment in segments)


def _row(trie: Trie, step: Step) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids [T], depths [T] and (place in the row, next token, request) [N, 3]."""
    ids, depths, targets, place = [], [], [], 0
    for number in step.segments:
        segment = trie.segments[number]
        ids.append(trie.ids(segment))
        depths.append(np.arange(segment.start, segment.end))
        rows = trie.targets(segment)
        rows[:, 0] += place - segment.start
        targets.append(rows)
        place += segment.end - segment.start
    return np.concatenate(ids), np.concatenate(depths), np.concatenate(targets)


def tree_mask(trie: Trie, step: Step) -> np.ndarray:
    """Return which token of a row sees which of the kept path and of the row [T, past + T]."""
    past, total = step.past, _end(trie, step)
    mask_TS = np.zeros((total - past, total), dtype=bool)
    mask_TS[:, :past] = True
    last: dict[int, int] = {}  # segment -> place of its last token
    place = 0
    for number in step.segments:
        segment = trie.segments[number]
        end = place + segment.end - segment.start
        if segment.parent in last:
            above = mask_TS[last[segment.parent], past : past + place]
            mask_TS[place:end, past : past + place] = above
        mask_TS[place:end, past + place : past + end] = np.tri(end - place, dtype=bool)
        last[number] = end - 1
        place = end
    return mask_TS


def _as_mask(model: PreTrainedModel, mask_RTS: np.ndarray) -> torch.Tensor:
    """Return a mask [R, 1, T, S] as the model's attention takes it."""
    mask = torch.from_numpy(mask_RTS)[:, None].to(model.device)
    if model.config.get_text_config()._attn_implementation == "sdpa":
        return mask
    values = torch.zeros(mask.shape, dtype=model.dtype, device=model.device)
    return values.masked_fill_(~mask, torch.finfo(model.dtype).min)


def _score_alone(
    model: PreTrainedModel, trie: Trie, *, budget: int, scores: np.ndarray, work: Work
) -> None:
    """Score each sequence in a row of its own; equal inputs once."""
    groups: dict[bytes, list[int]] = {}
    for number, sequence in enumerate(trie.sequences):
        groups.setdefault(sequence[:-1].tobytes(), []).append(number)
    by_length = sorted(groups.values(), key=lambda group: len(trie.sequences[group[0]]))
    for batch in _batches(by_length, trie, budget):
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


def _batches(groups: Sequence[list[int]], trie: Trie, budget: int) -> Iterator[list[list[int]]]:
    """Yield rows of similar length; the longest, which comes last, decides the padding."""
    batch: list[list[int]] = []
    for group in groups:
        if batch and len(trie.sequences[group[0]]) * (len(batch) + 1) > 4 * budget:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _add_scores(
    model: PreTrainedModel, hidden_TH: torch.Tensor, targets: np.ndarray, *, scores: np.ndarray
) -> None:
    """Add the log-probability of each (place, next token, request) to the request's score."""
    if not len(targets):
        return
    targets = targets[np.argsort(targets[:, 0], kind="stable")]
    # Options share places, and the logits of a place are wanted once.
    places, which_N = np.unique(targets[:, 0], return_inverse=True)
    hidden_PH = hidden_TH[torch.from_numpy(places).to(hidden_TH.device)]
    values_N = _pick(model, hidden_PH, which=which_N, tokens=targets[:, 1])
    np.add.at(scores, targets[:, 2], values_N)


def _pick(
    model: PreTrainedModel, hidden_PH: torch.Tensor, *, which: np.ndarray, tokens: np.ndarray
) -> np.ndarray:
    """Return the log-probability [N] of each token after its hidden state; `which` ascends."""
    values_N = np.zeros(len(tokens))
    step = max(1, MAX_LOGITS // model.config.get_text_config().vocab_size)
    for start in range(0, len(hidden_PH), step):
        logits_PV = _logits(model, hidden_PH[start : start + step])
        low, high = np.searchsorted(which, [start, start + step])
        place_N = torch.from_numpy(which[low:high] - start).to(logits_PV.device)
        token_N = torch.from_numpy(tokens[low:high].copy()).to(logits_PV.device)
        log_p_N = logits_PV[place_N, token_N] - logits_PV.logsumexp(-1)[place_N]
        values_N[low:high] = log_p_N.double().cpu().numpy()
    return values_N


def _logits(model: PreTrainedModel, hidden_PH: torch.Tensor) -> torch.Tensor:
    """Return the logits [P, V] in float32, scaled and capped as the model's own forward does."""
    config = model.config.get_text_config()
    logits_PV = model.get_output_embeddings()(hidden_PH).float()
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits_PV = logits_PV * scale
    if scale := getattr(config, "logits_scaling", None):  # Granite
        logits_PV = logits_PV / scale
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
        logits_PV = torch.tanh(logits_PV / cap) * cap
    return logits_PV
