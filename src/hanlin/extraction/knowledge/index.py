"""A graph in memory, made for looking up many pairs at once: what joins these entities?

Ids become numbers ("nodes"); facts are sorted arrays, 12 bytes each. Values that are text ("观赏",
"1871") are nodes of their own; dates and quantities stay with their heads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hanlin.extraction.knowledge.items import Fact, Item, Kind, Name, Signature
from hanlin.extraction.knowledge.values import value_kind

Ints = npt.NDArray[np.int64]


class Relation(NamedTuple):
    """A relation, and the type of its tails where the source says it of each fact."""

    id: str
    tail_type: str = ""


class ValueFact(NamedTuple):
    """A date or a quantity that is said of a node."""

    relation: int
    text: str
    is_date: bool


@dataclass(frozen=True)
class GraphIndex:
    """What `build` made of a graph.

    Attributes:
        ids: node -> id.
        names: node -> its names as (text, language); the main one of a language comes first.
        kinds: node -> language (or "") -> type.
        relations: number -> relation.
        pair_keys: head * len(ids) + tail of each fact, sorted.
        pair_relations: the relation of each.
        values: node -> dates and quantities.
        is_value: whether a node is a text value and no entity.
        degrees: how many facts a node has.
        signatures: what is declared of a relation's id.
        extra_names: names of types, relations and units, which are no nodes of facts.
    """

    ids: list[str]
    names: list[list[tuple[str, str]]]
    kinds: dict[int, dict[str, str]]
    relations: list[Relation]
    pair_keys: Ints
    pair_relations: npt.NDArray[np.int32]
    values: dict[int, list[ValueFact]]
    is_value: npt.NDArray[np.bool_]
    degrees: npt.NDArray[np.int32]
    signatures: Mapping[str, Signature]
    extra_names: Mapping[str, list[tuple[str, str]]]

    def joined(self, nodes: Sequence[int]) -> list[tuple[int, int, int]]:
        """Return every (head, relation, tail) whose ends are both among the nodes."""
        if len(nodes) < 2 or not len(self.pair_keys):
            return []
        own, count = np.unique(np.asarray(nodes, dtype=np.int64)), len(self.ids)
        first = np.searchsorted(self.pair_keys, own * count)
        last = np.searchsorted(self.pair_keys, (own + 1) * count)
        # A hub's facts are looked up pair by pair, those of others gone through.
        is_hub = last - first > max(FEW, len(own))
        rows = [
            np.arange(f, e) for f, e in zip(first[~is_hub], last[~is_hub], strict=True) if f < e
        ]
        for hub in own[is_hub]:
            keys = hub * count + own
            start, end = (np.searchsorted(self.pair_keys, keys, side) for side in ("left", "right"))
            rows += [np.arange(f, e) for f, e in zip(start, end, strict=True) if f < e]
        if not rows:
            return []
        at = np.concatenate(rows)
        heads, tails = np.divmod(self.pair_keys[at], count)
        place = np.minimum(np.searchsorted(own, tails), len(own) - 1)
        is_in = (own[place] == tails) & (heads != tails)
        found = (heads[is_in], self.pair_relations[at[is_in]], tails[is_in])
        return list(zip(*(column.tolist() for column in found), strict=True))

    def told_of(self, head: int) -> list[tuple[int, int]]:
        """Return the (relation, tail) of all facts about a head, dates and quantities left out."""
        count = len(self.ids)
        first, last = np.searchsorted(self.pair_keys, (head * count, (head + 1) * count)).tolist()
        tails = (self.pair_keys[first:last] - head * count).tolist()
        return list(zip(self.pair_relations[first:last].tolist(), tails, strict=True))

    @cached_property
    def value_heads(self) -> frozenset[int]:
        """Return the nodes of which a text value is said."""
        heads, tails = np.divmod(self.pair_keys, max(1, len(self.ids)))
        return frozenset(np.unique(heads[self.is_value[tails]]).tolist())

    def kind(self, node: int, language: str = "") -> str:
        """Return the name of a node's type in a language, "" where it has none."""
        kinds = self.kinds.get(node)
        if not kinds:
            return ""
        type_ = kinds.get(language) or kinds.get("") or next(iter(kinds.values()))
        return self.label(type_, language)

    def label(self, id_: str, language: str = "") -> str:
        """Return what a type or a relation is called in a language; else the end of its id."""
        names = self.extra_names.get(id_, ())
        for text, own in names:
            if own in ("", language):
                return text
        return names[0][0] if names else id_.rstrip("/").replace("#", "/").rpartition("/")[2]

    def unit_names(self, unit: str) -> list[str]:
        """Return all that a unit is called, itself included."""
        return [unit, *(text for text, _ in self.extra_names.get(unit, ()))]


FEW = 64  # facts of an entity that is no hub


@dataclass
class _Builder:
    """Collects the items of a graph."""

    numbers: dict[str, int] = field(default_factory=dict)
    names: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    kinds: dict[int, dict[str, str]] = field(default_factory=dict)
    relations: dict[Relation, int] = field(default_factory=dict)
    facts: list[tuple[int, int, int]] = field(default_factory=list)
    values: dict[int, list[ValueFact]] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)
    open_tails: set[int] = field(default_factory=set)
    heads: set[int] = field(default_factory=set)
    texts: set[int] = field(default_factory=set)

    def add(self, item: Item) -> None:
        if isinstance(item, Fact):
            self._fact(item)
        elif isinstance(item, Name):
            names = self.names.setdefault(self.node(item.id), [])
            entry = (item.text, item.language)
            if entry not in names:
                names.insert(0, entry) if item.is_main else names.append(entry)
        elif isinstance(item, Kind):
            self.kinds.setdefault(self.node(item.id), {}).setdefault(item.language, item.type)
        else:
            old = self.signatures.get(item.relation, Signature(item.relation))
            self.signatures[item.relation] = Signature(
                item.relation, item.head_type or old.head_type, item.tail_type or old.tail_type,
                item.inverse or old.inverse,
            )  # fmt: skip

    def node(self, id_: str) -> int:
        return self.numbers.setdefault(id_, len(self.numbers))

    def _fact(self, fact: Fact) -> None:
        head = self.node(fact.head)
        self.heads.add(head)
        key = Relation(fact.relation, fact.tail_type)
        relation = self.relations.setdefault(key, len(self.relations))
        kind = fact.kind or value_kind(fact.tail)
        if kind in ("date", "quantity"):
            value = ValueFact(relation, fact.tail, kind == "date")
            self.values.setdefault(head, []).append(value)
            return
        tail = self.node(fact.tail)
        self.facts.append((head, relation, tail))
        if fact.kind == "text":
            self.texts.add(tail)
        elif not fact.kind:
            self.open_tails.add(tail)


def build(items: Iterable[Item]) -> GraphIndex:
    """Compile a graph. The order of the items does not matter, but for which name is the main one.

    A node that has no name is called by its id where the graph does not name entities at all, or
    where it is a text value.
    """
    made = _Builder()
    for item in items:
        made.add(item)
    is_named = bool(made.names.keys() & (made.heads | made.kinds.keys()))
    is_value = np.zeros(len(made.numbers), dtype=np.bool_)
    loose = {t for t in made.open_tails - made.heads if t not in made.names and t not in made.kinds}
    is_value[list(made.texts | loose)] = True
    ids = list(made.numbers)
    types = {t for kinds in made.kinds.values() for t in kinds.values()}
    relations = {relation.id for relation in made.relations}
    extra, names = {}, list[list[tuple[str, str]]]()
    for node, id_ in enumerate(ids):
        own = made.names.get(node, [])
        if own and (id_ in types or id_ in relations or node not in made.heads):
            extra[id_] = own
        is_called_by_id = not own and (is_value[node] or not is_named)
        names.append([(id_, "")] if is_called_by_id else own)
    keys, order, degrees = _sorted(made.facts, len(ids))
    return GraphIndex(
        ids=ids, names=names, kinds=made.kinds, relations=list(made.relations), pair_keys=keys,
        pair_relations=order, values=made.values, is_value=is_value, degrees=degrees,
        signatures=_both_ways(made.signatures), extra_names=extra,
    )  # fmt: skip


def _sorted(
    facts: list[tuple[int, int, int]], count: int
) -> tuple[Ints, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    table = np.array(facts, dtype=np.int64).reshape(-1, 3)
    keys = table[:, 0] * count + table[:, 2]
    degrees = np.bincount(table[:, [0, 2]].ravel(), minlength=count).astype(np.int32)
    order = np.lexsort((table[:, 1], keys))
    keys, relations = keys[order], table[order, 1].astype(np.int32)
    is_new = np.ones(len(keys), dtype=np.bool_)
    is_new[1:] = (np.diff(keys) != 0) | (np.diff(relations) != 0)
    return keys[is_new], relations[is_new], degrees


def _both_ways(signatures: dict[str, Signature]) -> dict[str, Signature]:
    """Say of each relation that is named as an inverse what its inverse is."""
    both = dict(signatures)
    for one in signatures.values():
        if one.inverse:
            old = both.get(one.inverse, Signature(one.inverse))
            ends = (old.head_type or one.tail_type, old.tail_type or one.head_type)
            both[one.inverse] = Signature(one.inverse, *ends, old.inverse or one.relation)
    return both


def signature_shares(index: GraphIndex) -> dict[int, dict[tuple[str, str], float]]:
    """Return for each relation how its facts spread over types of head and tail."""
    counts: dict[int, Counter[tuple[str, str]]] = {}
    heads, tails = np.divmod(index.pair_keys, max(1, len(index.ids)))
    for head, relation, tail in zip(
        heads.tolist(), index.pair_relations.tolist(), tails.tolist(), strict=True
    ):
        ends = (index.kind(head), index.relations[relation].tail_type or index.kind(tail))
        counts.setdefault(relation, Counter())[ends] += 1
    return {
        relation: {ends: count / own.total() for ends, count in own.most_common()}
        for relation, own in counts.items()
    }
