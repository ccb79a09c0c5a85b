"""How are many continuations scored without computing their shared beginnings again and again?

Sequences that begin alike are folded into a tree, and the tree is one row of the batch: each token
is there once, attends to its ancestors only, and has its depth as position. So the options of a
question share the question, and questions after the same examples share the examples. The values
equal those of each sequence alone (tests/parity/test_parity_scoring.py).

Axes: R rows, T tokens of a row, N scored positions, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import PreTrainedModel

from hanlin.core.errors import InputError
from hanlin.inference.engine import ScoreRequest

MAX_ROW_TOKENS = 1024  # longer rows waste attention on branches that do not see each other
MAX_BATCH_TOKENS = 4096  # activations of a small model then stay in a CPU cache
MAX_LOGITS = 1 << 22  # 16 MiB in float32


@dataclass
class Tree:
    """Sequences folded into one row.

    Attributes:
        ids: token of each node.
        depths: its distance from the root: its position in each of its sequences.
        branches: (first new node, the path of nodes above it); its nodes follow one another.
        targets: (node, next token, request): what is scored where.
    """

    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    branches: list[tuple[int, np.ndarray]] = field(default_factory=list)
    targets: list[tuple[int, int, int]] = field(default_factory=list)
    path: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def add(self, request: int, sequence: np.ndarray, *, shared: int, num_scored: int) -> None:
        """Add a sequence whose first `shared` tokens are those of the sequence added before it."""
        inputs = sequence[:-1]
        first = len(self.ids)
        above = self.path[:shared]
        if shared < len(inputs):
            self.branches.append((first, above))
            self.ids.extend(inputs[shared:].tolist())
            self.depths.extend(range(shared, len(inputs)))
        self.path = np.concatenate([above, np.arange(first, len(self.ids))])
        nodes = self.path[len(inputs) - num_scored : len(inputs)]
        tokens = sequence[-num_scored:]
        self.targets.extend(
            (node, token, request)
            for node, token in zip(nodes.tolist(), tokens.tolist(), strict=True)
        )

    def mask(self) -> np.ndarray:
        """Return which node (row) sees which node (column): itself and its ancestors."""
        ends = [start for start, _ in self.branches[1:]] + [len(self.ids)]
        mask_TT = np.zeros((len(self.ids), len(self.ids)), dtype=bool)
        for (start, above), end in zip(self.branches, ends, strict=True):
            mask_TT[start:end, above] = True
            mask_TT[start:end, start:end] = np.tri(end - start, dtype=bool)
        return mask_TT


def score_requests(
    model: PreTrainedModel, requests: Sequence[ScoreRequest], *, max_length: int
) -> list[float]:
    """Return the log-likelihood of each continuation after its prefix, in nats.

    Args:
        model: a causal language model with sdpa attention, which takes a boolean 4-D mask.
        requests: (prefix, continuation) as token ids; a prefix has at least one token.
        max_length: positions that the model has.

    Raises:
        InputError: a sequence is longer than the model's context.
    """
    _check(requests, max_length)
    scores = np.zeros(len(requests))
    trees = sorted(fold(requests), key=lambda tree: len(tree.ids))
    for batch in _batches(trees):
        found = [(r, *target) for r, tree in enumerate(batch) for target in tree.targets]
        row_N, node_N, token_N, request_N = np.array(sorted(found)).T
        values_N = _log_probabilities(model, batch, rows=row_N, nodes=node_N, tokens=token_N)
        np.add.at(scores, request_N, values_N)
    return scores.tolist()


def fold(requests: Sequence[ScoreRequest]) -> list[Tree]:
    """Return trees that together hold every request with a continuation exactly once."""
    sequences = {
        index: np.array([*prefix, *continuation], dtype=np.int64)
        for index, (prefix, continuation) in enumerate(requests)
        if len(continuation)
    }
    trees: list[Tree] = []
    before, row_limit = np.empty(0, dtype=np.int64), 0
    for index in sorted(sequences, key=lambda i: sequences[i].tolist()):
        sequence = sequences[index]
        shared = _shared_length(before[:-1], sequence[:-1])
        new = len(sequence) - 1 - shared
        # A row is worth sharing only when most of the sequence is there already.
        if not trees or new > shared or len(trees[-1].ids) + new > row_limit:
            row_limit = max(MAX_ROW_TOKENS, 2 * len(sequence))
            trees.append(Tree())
            shared = 0
        trees[-1].add(index, sequence, shared=shared, num_scored=len(requests[index][1]))
        before = sequence
    return trees


def _shared_length(a: np.ndarray, b: np.ndarray) -> int:
    length = min(len(a), len(b))
    differs = np.flatnonzero(a[:length] != b[:length])
    return int(differs[0]) if len(differs) else length


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


def _batches(trees: Sequence[Tree]) -> Iterator[list[Tree]]:
    """Yield rows of similar length; the longest decides how much padding there is."""
    batch: list[Tree] = []
    for tree in trees:
        if batch and len(tree.ids) * (len(batch) + 1) > MAX_BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(tree)
    if batch:
        yield batch


def _log_probabilities(
    model: PreTrainedModel,
    trees: Sequence[Tree],
    *,
    rows: np.ndarray,
    nodes: np.ndarray,
    tokens: np.ndarray,
) -> np.ndarray:
    """Return the log-probability [N] of each token after a node of a row, in ascending order."""
    length = max(len(tree.ids) for tree in trees)
    ids_RT = np.zeros((len(trees), length), dtype=np.int64)
    depths_RT = np.zeros((len(trees), length), dtype=np.int64)
    # Padding sees itself: a row of the mask without any True would give NaN.
    mask_RTT = np.broadcast_to(np.eye(length, dtype=bool), (len(trees), length, length)).copy()
    for row, tree in enumerate(trees):
        size = len(tree.ids)
        ids_RT[row, :size], depths_RT[row, :size] = tree.ids, tree.depths
        mask_RTT[row, :size, :size] = tree.mask()
    # Options share nodes, and the logits of a node are wanted once.
    places, which_N = np.unique(rows * length + nodes, return_inverse=True)
    with torch.inference_mode():
        hidden_RTH = model.get_decoder()(
            input_ids=torch.from_numpy(ids_RT).to(model.device),
            position_ids=torch.from_numpy(depths_RT).to(model.device),
            attention_mask=torch.from_numpy(mask_RTT)[:, None].to(model.device),
            use_cache=False,
        ).last_hidden_state
        hidden_PH = hidden_RTH.flatten(0, 1)[torch.from_numpy(places).to(model.device)]
        return _pick(model, hidden_PH, which=which_N, tokens=tokens)


def _pick(
    model: PreTrainedModel, hidden_PH: torch.Tensor, *, which: np.ndarray, tokens: np.ndarray
) -> np.ndarray:
    """Return the log-probability [N] of each token after its hidden state; `which` ascends."""
    values_N = np.zeros(len(tokens))
    step = max(1, MAX_LOGITS // model.config.vocab_size)
    for start in range(0, len(hidden_PH), step):
        logits_PV = model.get_output_embeddings()(hidden_PH[start : start + step]).float()
        low, high = np.searchsorted(which, [start, start + step])
        place_N = torch.from_numpy(which[low:high] - start).to(model.device)
        token_N = torch.from_numpy(tokens[low:high]).to(model.device)
        log_p_N = logits_PV[place_N, token_N] - logits_PV.logsumexp(-1)[place_N]
        values_N[low:high] = log_p_N.double().cpu().numpy()
    return values_N
