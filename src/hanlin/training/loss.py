"""How is the loss over a large vocabulary computed without holding its logits?

Logits of N tokens over V entries take 12 NV bytes in training (float32 logits, their softmax, its
gradient): 6 GB for 4,096 tokens of LLaMA-3's vocabulary. Here only tokens that count get logits, a
few at a time, and each few are turned into gradients of the hidden states and of the head at once,
so that the backward pass has nothing left to compute again. (The idea: Cut Your Losses, Wijmans et
al. 2024, https://arxiv.org/abs/2411.09009; Liger Kernel, https://arxiv.org/abs/2410.10989.)

Symbols of shapes: B rows, T tokens of a row, N tokens that count, H hidden size, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from hanlin.data.pack import IGNORED

log = logging.getLogger(__name__)
CHUNK_BYTES = 64 << 20  # of float32 logits that are there at one time
TOLERANCE = 1e-4  # relative; what a wrong head would cost is larger by orders of magnitude


@dataclass(frozen=True)
class Head:
    """What turns hidden states into logits.

    Attributes:
        logits: hidden [n, H] -> logits [n, V].
        trained: the parameters in it that the loss trains.
        rows: entries of the vocabulary, V.
        linear: the head itself where it is a plain linear layer and nothing follows it.
    """

    logits: Callable[[Tensor], Tensor]
    trained: tuple[nn.Parameter, ...]
    rows: int
    linear: nn.Linear | None


def chunked_loss(
    hidden_BTH: Tensor,
    labels_BT: Tensor,
    head: Head,
    *,
    items: Tensor | int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """Return the cross entropy of each next token, as transformers' `ForCausalLMLoss` does.

    Args:
        hidden_BTH: hidden states behind the last norm, [B, T, H].
        labels_BT: ids, or -100 where nothing is to be learned, [B, T].
        head: see `head_of`.
        items: what the sum is divided by; None: the number of tokens that count.
        chunk_bytes: of float32 logits that are there at one time.
    """
    targets_BT = labels_BT[:, 1:]
    counted = targets_BT != IGNORED
    hidden_NH, targets_N = hidden_BTH[:, :-1][counted], targets_BT[counted]
    step = max(1, chunk_bytes // (4 * head.rows))
    loss: Tensor = _ChunkedLoss.apply(hidden_NH, targets_N, head, step, *head.trained)
    divisor = items if items is not None else max(1, len(targets_N))
    return loss / (divisor.to(loss.device) if isinstance(divisor, Tensor) else divisor)


class _ChunkedLoss(torch.autograd.Function):
    """The sum of the losses; its gradients are computed on the way forward."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        hidden_NH: Tensor,
        targets_N: Tensor,
        head: Head,
        step: int,
        *trained: Tensor,
    ) -> Tensor:
        is_learning = any(ctx.needs_input_grad)
        total = hidden_NH.new_zeros((), dtype=torch.float32)
        hidden_grad = torch.zeros_like(hidden_NH) if is_learning else None
        grads = [torch.zeros_like(p, dtype=torch.float32) for p in trained] if is_learning else []
        add = _add_linear if head.linear is not None else _add_any
        for start in range(0, len(hidden_NH), step):
            part, targets = hidden_NH[start : start + step], targets_N[start : start + step]
            if hidden_grad is None:
                logits = head.logits(part).float()
                total += functional.cross_entropy(logits, targets, reduction="sum")
            else:
                total += add(part, targets, head, hidden_grad[start : start + step], grads)
        ctx.save_for_backward(*([] if hidden_grad is None else [hidden_grad, *grads]))
        ctx.dtypes = [p.dtype for p in trained]
        return total

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        hidden, *grads = ctx.saved_tensors
        pairs = zip(grads, ctx.dtypes, strict=True)
        return (
            hidden * factor.to(hidden.dtype), None, None, None,
            *((grad * factor).to(dtype) for grad, dtype in pairs),
        )  # fmt: skip


def _add_linear(
    part: Tensor, targets: Tensor, head: Head, hidden_grad: Tensor, grads: Sequence[Tensor]
) -> Tensor:
    """Return the loss of some tokens and write their gradients; the head is a linear layer."""
    assert head.linear is not None
    logits = head.linear(part).float()
    loss, slope = _slope(logits, targets)
    slope = slope.to(part.dtype)
    weight = head.linear.weight
    torch.mm(slope, weight.to(part.dtype), out=hidden_grad)
    for parameter, grad in zip(head.trained, grads, strict=True):
        grad += slope.t() @ part if parameter is weight else slope.sum(0)
    return loss


def _add_any(
    part: Tensor, targets: Tensor, head: Head, hidden_grad: Tensor, grads: Sequence[Tensor]
) -> Tensor:
    """Return the loss of some tokens and write their gradients, whatever the head is."""
    with torch.enable_grad():
        part = part.detach().requires_grad_()
        logits = head.logits(part)
    loss, slope = _slope(logits.detach().float(), targets)
    found = torch.autograd.grad(logits, [part, *head.trained], slope.to(logits.dtype))
    hidden_grad.copy_(found[0])
    for grad, more in zip(grads, found[1:], strict=True):
        grad += more
    return loss


def _slope(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed loss of logits [n, V] and, in their place, its slope: softmax - target."""
    at = targets[:, None]
    normalizer = logits.logsumexp(-1, keepdim=True)
    loss = (normalizer - logits.gather(1, at)).sum()
    slope = logits.sub_(normalizer).exp_()
    slope.scatter_add_(1, at, slope.new_full(at.shape, -1.0))
    return loss, slope


def head_of(model: PreTrainedModel) -> Head:
    """Return the head of a causal language model, an adapter's trained rows included."""
    module = model.get_output_embeddings()
    cap = getattr(model.config, "final_logit_softcapping", None)
    logits, trained, rows = _logits_of(module)
    if cap is not None:  # Gemma
        logits = _capped(logits, float(cap))
    is_plain = type(module) is nn.Linear and cap is None
    return Head(logits, trained, rows, module if is_plain else None)


def _logits_of(
    module: Any,  # noqa: ANN401 - a layer, or peft's wrapper around one
) -> tuple[Callable[[Tensor], Tensor], tuple[nn.Parameter, ...], int]:
    """Return how a head computes logits, what is trained in it, and its rows."""
    adapter = getattr(module, "token_adapter", None)
    if adapter is None:
        trained = tuple(p for p in module.parameters() if p.requires_grad)
        return module, trained, int(module.weight.shape[0])
    # peft copies the whole matrix and puts the trained rows into it, at every call; a few columns
    # of the logits are all that differs.
    (name,) = adapter.active_adapters
    owner = adapter.tied_adapter or adapter
    delta, base = owner.trainable_tokens_delta[name], adapter.get_base_layer()
    indices = torch.tensor(owner.token_indices[name], device=delta.device)

    def logits(hidden: Tensor) -> Tensor:
        weight, bias = base.weight, getattr(base, "bias", None)
        old = functional.linear(hidden, weight, bias)
        new = functional.linear(hidden, delta, None if bias is None else bias[indices])
        return old.index_copy(1, indices, new)

    return logits, (delta,), int(base.weight.shape[0])


def _capped(logits: Callable[[Tensor], Tensor], cap: float) -> Callable[[Tensor], Tensor]:
    return lambda hidden: torch.tanh(logits(hidden) / cap) * cap


@contextmanager
def chunked(model: PreTrainedModel, *, probe: Mapping[str, Any]) -> Iterator[bool]:
    """Let a model compute its loss in chunks while the block runs, if that gives the same loss.

    With labels its `forward` returns the loss only, no logits; without labels it is unchanged.

    Args:
        model: the causal language model itself, below an adapter's wrapper.
        probe: a batch without labels; the loss of all its tokens is computed both ways.

    Yields:
        whether it is used: a model that does more with its logits than is known here keeps its own
        way, and a warning says so.
    """
    own = model.forward
    was_training = model.training
    model.eval()
    with torch.no_grad():
        plain = float(own(**probe, labels=probe["input_ids"]).loss)
        new = float(_forward(model, **probe, labels=probe["input_ids"]).loss)
    model.train(was_training)
    if abs(plain - new) > TOLERANCE * max(1.0, abs(plain)):
        log.warning(
            "%s computes its loss in a way of its own (%.6f, in chunks %.6f): all logits of a "
            "batch are held in memory", type(model).__name__, plain, new,
        )  # fmt: skip
        yield False
        return
    model.forward = MethodType(_or_own(own), model)
    try:
        yield True
    finally:
        vars(model).pop("forward", None)


def _or_own(own: Callable[..., Any]) -> Callable[..., Any]:
    def forward(
        model: PreTrainedModel,
        *args: Any,  # noqa: ANN401
        labels: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if labels is None or args or _is_shared(model):
            return own(*args, labels=labels, **kwargs)
        return _forward(model, labels=labels, **kwargs)

    return forward


def _is_shared(model: PreTrainedModel) -> bool:
    """Tell whether ZeRO-3 holds the head: only the head's own call puts its weights together."""
    return hasattr(getattr(model.get_output_embeddings(), "weight", None), "ds_id")


def _forward(
    model: PreTrainedModel,
    *,
    labels: Tensor,
    num_items_in_batch: Tensor | int | None = None,
    **inputs: Any,  # noqa: ANN401 - what the decoder takes
) -> CausalLMOutputWithPast:
    """Run the decoder and return the loss alone."""
    hidden = model.base_model(**inputs).last_hidden_state
    loss = chunked_loss(hidden, labels, head_of(model), items=num_items_in_batch)
    return CausalLMOutputWithPast(loss=loss)
