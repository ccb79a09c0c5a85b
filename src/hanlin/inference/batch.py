"""How do requests share one forward pass, joining and leaving between the steps?

Each running sequence is a row: all rows stand in one key-value cache, padded on the left, so that
their last tokens are in one column. A request that joins is read by a pass of its own, and its rows
are put below the others; one that leaves takes its rows away, and columns that only padding is left
in. Positions and masks are each row's own: an answer is the same in any company.
Axes: R rows, T columns (tokens), V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from hanlin.inference.decoder import Decoder, NextRow, advance_all
from hanlin.inference.out_of_memory import is_out_of_memory, out_of_memory


@dataclass
class _Rows:
    """Sequences that are computed together.

    Attributes:
        decoders: the requests, in the order of their rows.
        num_rows: of each request.
        tokens: the next token of each row, not yet in the cache.
        lengths: tokens of each row that are in the cache.
        mask_RT: 1 where the cache has a token, 0 where padding.
        cache: keys and values of T columns.
    """

    decoders: list[Decoder]
    num_rows: list[int]
    tokens: list[int]
    lengths: list[int]
    mask_RT: torch.Tensor
    cache: DynamicCache


class RunningBatch:
    """Requests that are answered together.

    Args:
        forward: a causal language model's forward pass.
        device: where it is.
        vocab_size: entries of its tokenizer; rows of lm_head beyond are never chosen.
        pad_id: a token to fill up prompts.
    """

    def __init__(
        self, forward: Callable[..., Any], *, device: torch.device, vocab_size: int, pad_id: int
    ) -> None:
        self._forward, self._device = forward, device
        self._vocab_size, self._pad_id = vocab_size, pad_id
        self._rows: _Rows | None = None

    @property
    def decoders(self) -> list[Decoder]:
        """Return the requests that are not over."""
        return list(self._rows.decoders) if self._rows else []

    def size(self, decoder: Decoder) -> int:
        """Return how many tokens a request has in the cache."""
        assert self._rows is not None
        index = self._rows.decoders.index(decoder)
        start = sum(self._rows.num_rows[:index])
        return sum(self._rows.lengths[start : start + self._rows.num_rows[index]])

    def join(self, decoders: Sequence[Decoder]) -> None:
        """Read the prompts of new requests and give each its first token.

        Raises:
            ResourceError: there is no memory for them; the others are as they were.
        """
        try:
            with torch.inference_mode():
                new = self._read(decoders)
                if new.decoders:
                    self._rows = _merged(self._rows, new) if self._rows else new
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error)
        if self._rows:  # what a merge that broke off has added: rows below, columns on the left
            count, width = len(self._rows.tokens), max(self._rows.lengths)
            self._rows.mask_RT = self._rows.mask_RT[:, -width:]
            _change(self._rows.cache, lambda states: states[:count, :, -width:])
        # Raised out here, the error does not hold the tensors of the pass that failed.
        raise out_of_memory(reason)

    def step(self) -> None:
        """Give every request its next token; those that are over leave.

        Raises:
            ResourceError: there is no memory; everything is as it was before.
        """
        rows = self._rows
        assert rows is not None, "no request is running"
        reason = ""
        with torch.inference_mode():
            ids_RT = torch.tensor(rows.tokens, device=rows.mask_RT.device)[:, None]
            mask_RT = torch.cat([rows.mask_RT, torch.ones_like(ids_RT)], dim=1)
            try:
                positions_RT = torch.tensor(rows.lengths, device=self._device)[:, None]
                is_padded = min(rows.lengths) < max(rows.lengths)
                logits_RV = self._logits(
                    ids_RT, positions_RT, mask_RT if is_padded else None, rows.cache
                )
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            else:
                rows.mask_RT = mask_RT
                rows.lengths = [length + 1 for length in rows.lengths]
                self._keep(advance_all(rows.decoders, logits_RV, rows.num_rows))
        if reason:
            width = rows.mask_RT.shape[1]  # some layers may have the new column already
            _change(rows.cache, lambda states: states[:, :, :width])
            raise out_of_memory(reason)

    def leave(self, decoder: Decoder) -> None:
        """Take a request away before it is over, and free its place."""
        if self._rows is None or decoder not in self._rows.decoders:
            return
        rows, start = self._rows, 0
        kept: list[list[NextRow]] = []
        for other, count in zip(rows.decoders, rows.num_rows, strict=True):
            going = [] if other is decoder else range(count)
            kept.append([(row, rows.tokens[start + row]) for row in going])
            start += count
        with torch.inference_mode():
            self._keep(kept)

    def _keep(self, next_rows: Sequence[Sequence[NextRow]]) -> None:
        assert self._rows is not None
        _keep(self._rows, next_rows)
        if not self._rows.decoders:
            self._rows = None

    def _read(self, decoders: Sequence[Decoder]) -> _Rows:
        """Return the rows of new requests, after their first token."""
        lengths = [len(decoder.prompt) for decoder in decoders]
        longest, device = max(lengths), self._device
        ids = [[self._pad_id] * (longest - len(d.prompt)) + list(d.prompt) for d in decoders]
        ids_RT = torch.tensor(ids, device=device)
        first_R = longest - torch.tensor(lengths, device=device)
        positions_RT = torch.arange(longest, device=device) - first_R[:, None]
        mask_RT, is_padded = (positions_RT >= 0).long(), min(lengths) < longest
        new = _Rows(list(decoders), [1] * len(decoders), [], lengths, mask_RT, DynamicCache())
        logits_RV = self._logits(
            ids_RT, positions_RT.clamp(min=0), mask_RT if is_padded else None, new.cache
        )
        _keep(new, advance_all(new.decoders, logits_RV, new.num_rows))
        return new

    def _logits(
        self,
        ids_RT: torch.Tensor,
        positions_RT: torch.Tensor,
        mask_RT: torch.Tensor | None,
        cache: DynamicCache,
    ) -> torch.Tensor:
        """Return the logits [R, V] after the new tokens, which go into the cache."""
        output = self._forward(
            input_ids=ids_RT,
            attention_mask=mask_RT,
            position_ids=positions_RT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_RV: torch.Tensor = output.logits[:, -1, : self._vocab_size].float()
        return logits_RV


def _keep(rows: _Rows, next_rows: Sequence[Sequence[NextRow]]) -> None:
    """Let go on, of each request, the rows that are named, with their next tokens."""
    order: list[int] = []
    tokens: list[int] = []
    start = 0
    for count, going in zip(rows.num_rows, next_rows, strict=True):
        order += [start + row for row, _ in going]
        tokens += [token for _, token in going]
        start += count
    is_same = order == list(range(start))
    rows.decoders = [d for d, going in zip(rows.decoders, next_rows, strict=True) if going]
    rows.num_rows = [len(going) for going in next_rows if going]
    rows.tokens, rows.lengths = tokens, [rows.lengths[row] for row in order]
    if is_same or not order:
        return
    chosen_R = torch.tensor(order, device=rows.mask_RT.device)
    unused = rows.mask_RT.shape[1] - max(rows.lengths)
    rows.mask_RT = rows.mask_RT[chosen_R, unused:]

    def choose(states: torch.Tensor) -> torch.Tensor:
        return states[:, :, unused:].index_select(0, chosen_R.to(states.device))

    _change(rows.cache, choose)


def _merged(upper: _Rows, lower: _Rows) -> _Rows:
    """Return the rows of both, the shorter ones padded on the left."""
    width = max(upper.mask_RT.shape[1], lower.mask_RT.shape[1])
    _widen(upper, width)
    _widen(lower, width)
    for layer, other in zip(upper.cache.layers, lower.cache.layers, strict=True):
        layer.keys = torch.cat([layer.keys, other.keys])
        layer.values = torch.cat([layer.values, other.values])
    return _Rows(
        upper.decoders + lower.decoders, upper.num_rows + lower.num_rows,
        upper.tokens + lower.tokens, upper.lengths + lower.lengths,
        torch.cat([upper.mask_RT, lower.mask_RT]), upper.cache,
    )  # fmt: skip


def _widen(rows: _Rows, width: int) -> None:
    """Put columns of padding on the left."""
    gap = width - rows.mask_RT.shape[1]
    if gap:
        rows.mask_RT = pad(rows.mask_RT, (gap, 0))
        _change(rows.cache, lambda states: pad(states, (0, 0, gap, 0)))


def _change(cache: DynamicCache, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change keys and values [R, heads, T, size] of every layer."""
    for layer in cache.layers:
        if layer.is_initialized:
            layer.keys, layer.values = change(layer.keys), change(layer.values)
