"""Where does every tensor of a merged model come from, and which adapters change it in which order?

A chain is a row of sums. The adapters of one sum were all trained on the same model, each counts
with its weight; the adapters of the next sum were trained on what the sum before made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from hanlin.core.errors import InputError
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.tensors import TensorSpec
from hanlin.weights.lora import Adapter, Change, LowRank, Rows, Whole, is_apart, plan_changes
from hanlin.weights.merge.apply import Term, changed_blocks

if TYPE_CHECKING:
    import torch


class TensorSource(Protocol):
    """A checkpoint that can be streamed."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Return what is in it."""

    def blocks(self, name: str) -> Iterator[torch.Tensor]:
        """Yield consecutive blocks of rows of one tensor, free to be written over."""


@dataclass(frozen=True)
class Weighted:
    """An adapter in a sum, and how much it counts.

    Attributes:
        adapter: the opened folder.
        weight: 1 takes all of what it learned, 0 nothing.
        brings_tokenizer: its whole embeddings may have more rows than the base's.
    """

    adapter: Adapter
    weight: float = 1.0
    brings_tokenizer: bool = False


Chain = Sequence[Sequence[Weighted]]


@dataclass(frozen=True)
class PlannedTensor:
    """How one tensor of the merged model is made.

    Attributes:
        spec: what it will be.
        source: checkpoint that its data starts from.
        name: its name there.
        sums: what is done to it; none: it is copied.
    """

    spec: TensorSpec
    source: TensorSource
    name: str
    sums: tuple[tuple[Term, ...], ...] = ()

    @property
    def is_changed(self) -> bool:
        """Tell whether an adapter has to do with it."""
        return bool(self.sums) or self.name != self.spec.name

    def blocks(self) -> Iterator[torch.Tensor]:
        """Yield the data in consecutive blocks of rows.

        Raises:
            InputError: a result is not finite, or does not fit into the type.
        """
        if not self.is_changed:
            return self.source.blocks(self.name)
        return changed_blocks(self.spec, lambda: self.source.blocks(self.name), self.sums)


def plan_merge(
    base: TensorSource, chain: Chain, *, is_tied: bool
) -> tuple[dict[str, PlannedTensor], bool]:
    """Return a plan for each tensor of the merged model, in the base's order.

    Args:
        base: the base's tensors.
        chain: the adapters.
        is_tied: embeddings and lm_head are one matrix; a second copy of it is left out.

    Returns:
        The plan, and whether one matrix became two: an adapter that was trained on embeddings and
        lm_head apart from each other does that.

    Raises:
        InputError: an adapter does not fit the base, or two adapters of a sum cannot be added up.
    """
    was_tied = is_tied = is_tied and EMBEDDINGS in base.specs
    plan = {
        name: PlannedTensor(spec, base, name)
        for name, spec in base.specs.items()
        if not (is_tied and name == LM_HEAD)
    }
    for together in chain:
        found, stays_tied = _changes(together, plan, is_tied=is_tied)
        if is_tied and not stays_tied:
            embedding = plan[EMBEDDINGS]
            plan[LM_HEAD] = replace(embedding, spec=replace(embedding.spec, name=LM_HEAD))
        is_tied = stays_tied
        for name, changes in found.items():
            plan[name] = _changed(plan[name], changes)
    _check_grown(plan)
    return plan, was_tied and not is_tied


_Changes = list[tuple[Weighted, Change]]


def _changes(
    together: Sequence[Weighted], plan: Mapping[str, PlannedTensor], *, is_tied: bool
) -> tuple[dict[str, _Changes], bool]:
    """Return what the adapters of one sum do, by tensor, and whether the model is still tied."""
    specs = {name: item.spec for name, item in plan.items()}
    if is_tied:
        specs[LM_HEAD] = replace(specs[EMBEDDINGS], name=LM_HEAD)
    pairs: list[tuple[Weighted, dict[str, Change], bool]] = []
    for item in together:
        changes = plan_changes(item.adapter, specs, may_grow=item.brings_tokenizer)
        pairs.append((item, changes, is_tied and not is_apart(item.adapter, changes)))
    stays_tied = is_tied and all(is_shared for _, _, is_shared in pairs)
    found: dict[str, _Changes] = {}
    for item, changes, is_shared in pairs:
        if is_shared:  # what it does to the one matrix holds for both
            changes.pop(LM_HEAD, None)
            if EMBEDDINGS in changes and not stays_tied:
                changes[LM_HEAD] = changes[EMBEDDINGS]
        for name, change in changes.items():
            found.setdefault(name, []).append((item, change))
    for name, group in found.items():
        _check_sum(name, group)
    return found, stays_tied


def _check_sum(name: str, group: _Changes) -> None:
    """Refuse what has no sum: two new values for one number."""
    taken: dict[int, Weighted] = {}
    for item, change in group:
        if isinstance(change, Whole) and item.weight != 1:
            raise InputError(
                f"the adapter {item.adapter.folder} cannot count {item.weight:g} times",
                why=f"it holds all of {name!r}, not a change of it",
                fix="give it the weight 1, or leave it out",
            )
        if len(group) > 1 and _replaces(change):
            others = ", ".join(str(other.adapter.folder) for other, _ in group if other is not item)
            raise _conflict(f"all of {name!r}", item, others)
        for row in change.indices if isinstance(change, Rows) else ():
            if row in taken:
                raise _conflict(f"row {row} of {name!r}", item, str(taken[row].adapter.folder))
            taken[row] = item
    if taken and len(group) > sum(isinstance(change, Rows) for _, change in group):
        other, _ = next(pair for pair in group if not isinstance(pair[1], Rows))
        raise _conflict(f"rows of {name!r}", next(iter(taken.values())), str(other.adapter.folder))


def _replaces(change: Change) -> bool:
    return isinstance(change, Whole) or (
        isinstance(change, LowRank | Rows) and change.weight is not None
    )


def _conflict(what: str, item: Weighted, others: str) -> InputError:
    return InputError(
        f"the adapters {item.adapter.folder} and {others} cannot be added up: both change {what}",
        why="each brings a new value, not a difference; only one of the two can hold",
        fix="where one was trained on top of the other, give it with --then; otherwise merge one",
    )


def _changed(item: PlannedTensor, changes: _Changes) -> PlannedTensor:
    """Return the plan of a tensor with one more sum."""
    weighted, first = changes[0]
    tensors = weighted.adapter.tensors
    if isinstance(first, Whole):
        shape = tensors.specs[first.name].shape
        return PlannedTensor(replace(item.spec, shape=shape), tensors, first.name)
    if isinstance(first, LowRank | Rows) and first.weight is not None:
        item = PlannedTensor(item.spec, tensors, first.weight)  # W itself came with the adapter
    terms = tuple(Term(change, one.adapter.tensors, one.weight) for one, change in changes)
    return replace(item, sums=(*item.sums, terms))


def _check_grown(plan: Mapping[str, PlannedTensor]) -> None:
    """Refuse embeddings and lm_head of different lengths."""
    rows = {name: plan[name].spec.shape[0] for name in (EMBEDDINGS, LM_HEAD) if name in plan}
    if len(set(rows.values())) > 1:
        raise InputError(
            f"the merged model would have {rows[EMBEDDINGS]} rows in its embeddings and "
            f"{rows[LM_HEAD]} in its lm_head",
            why="an adapter brings only one of the two with more rows",
            fix="grow the base to the adapter's tokenizer first: hanlin model grow BASE "
            "--tokenizer ADAPTER --out GROWN",
        )
