"""Which entities of a graph does a text name, and which facts about them does it tell?

The steps of KG2Instruction (Gui and others, 2023, arXiv 2305.11527): mentions, links, facts about
pairs, constraints by type, filters; here for any graph, with places, and without any model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from hanlin.extraction.knowledge.index import GraphIndex, signature_shares
from hanlin.extraction.knowledge.mentions import MentionFinder
from hanlin.extraction.knowledge.rules import Rules
from hanlin.extraction.knowledge.values import Value, find_values, says_date, says_quantity
from hanlin.text.sentences import sentences

Place = tuple[int, int]
UNSPACED_FROM = "\u2e80"


class Mention(NamedTuple):
    """A place where something is named.

    Attributes:
        start, end: `[start, end)` in characters.
        node: which entity; -1 where several have this name and the text does not tell which.
        value: the text value that is written so; -1 for none.
        candidates: all entities that have this name.
    """

    start: int
    end: int
    node: int
    value: int
    candidates: tuple[int, ...]


class Told(NamedTuple):
    """A fact that a text tells.

    Attributes:
        head: node.
        relation: number in `GraphIndex.relations`.
        tail: node; -1 for a date or quantity.
        head_place, tail_place: the two mentions that are nearest to each other.
        evidence: the sentences that hold them.
        is_inverse: read from the tail's side: the relation is the declared inverse.
    """

    head: int
    relation: int
    tail: int
    head_place: Place
    tail_place: Place
    evidence: tuple[Place, ...]
    is_inverse: bool = False


@dataclass(frozen=True)
class Annotation:
    """What was found in one text.

    Attributes:
        text: it.
        mentions: in its order.
        facts: in the order of their mentions.
        dropped: reason -> how many facts about entities of the text were filtered out.
    """

    text: str
    mentions: tuple[Mention, ...]
    facts: tuple[Told, ...]
    dropped: Mapping[str, int]


class Linker:
    """Annotates texts with a graph; to be made once for many texts."""

    def __init__(self, index: GraphIndex, rules: Rules) -> None:
        self.index, self.rules = index, rules
        self._candidates: list[tuple[int, ...]] = []
        self._values: list[int] = []
        aliases: dict[str, int] = {}
        for node, names in enumerate(index.names):
            for name in dict.fromkeys(text for text, _ in names if self._is_long_enough(text)):
                at = aliases.setdefault(name, len(aliases))
                if at == len(self._candidates):
                    self._candidates.append(())
                    self._values.append(-1)
                if index.is_value[node]:
                    self._values[at] = node
                else:
                    self._candidates[at] += (node,)
        self.finder = MentionFinder(list(aliases))

    def _is_long_enough(self, name: str) -> bool:
        shortest = self.rules.shortest[name[:1] < UNSPACED_FROM]
        return len(name) >= shortest and "\n" not in name

    def annotate(self, texts: Sequence[str]) -> Iterator[Annotation]:
        """Yield what is found in each text."""
        for text, hits in zip(texts, self.finder.find(texts), strict=True):
            yield _Reading(self, text, hits).annotation()

    @cached_property
    def plausible_ends(self) -> dict[int, set[tuple[str, str]]]:
        """Return for each relation the types of head and tail that it may join."""
        shares = signature_shares(self.index)
        plausible = {
            relation: {ends for ends, share in own.items() if share >= self.rules.least_share}
            for relation, own in shares.items()
        }
        for relation in plausible:
            declared = self.index.signatures.get(self.index.relations[relation].id)
            if declared and declared.head_type and declared.tail_type:
                ends = (self.index.label(declared.head_type), self.index.label(declared.tail_type))
                plausible[relation] = {ends}
        return plausible


class _Reading:
    """Reads one text."""

    def __init__(self, linker: Linker, text: str, hits: Sequence[tuple[int, int, int]]) -> None:
        self.linker, self.index, self.text, self.hits = linker, linker.index, text, hits
        self.dropped: dict[str, int] = {}
        self.places: dict[int, list[Place]] = {}

    def annotation(self) -> Annotation:
        """Return what was found."""
        candidates = [self.linker._candidates[alias] for alias, _, _ in self.hits]
        values = [self.linker._values[alias] for alias, _, _ in self.hits]
        nodes = {node for own in candidates for node in own} | {v for v in values if v >= 0}
        joined = self.index.joined(sorted(nodes))
        chosen = self._linked(candidates, joined)
        mentions = tuple(
            Mention(start, end, node, value, own)
            for (_, start, end), node, value, own in zip(
                self.hits, chosen, values, candidates, strict=True
            )
        )
        for mention in mentions:
            for node in (mention.node, mention.value):
                if node >= 0:
                    self.places.setdefault(node, []).append((mention.start, mention.end))
        joined += self._hidden_values()
        told = [*self._facts(joined), *self._value_facts()]
        told.sort(key=lambda one: (one.head_place, one.tail_place, one.relation))
        return Annotation(self.text, mentions, tuple(told), self.dropped)

    def _linked(
        self, candidates: Sequence[tuple[int, ...]], joined: Sequence[tuple[int, int, int]]
    ) -> list[int]:
        """Choose among the entities of one name.

        First comes the one that the text names otherwise too, then the one that the others have
        most to do with, then the one that is mainly called so, then the better known one.
        """
        sure = {own[0] for own in candidates if len(own) == 1}
        partners: dict[int, set[int]] = {}
        for head, _, tail in joined:
            partners.setdefault(head, set()).add(tail)
            partners.setdefault(tail, set()).add(head)
        chosen: list[int] = []
        for (_, start, end), own in zip(self.hits, candidates, strict=True):
            if len(own) < 2:
                chosen.append(own[0] if own else -1)
                continue
            name = self.text[start:end]
            ranks = {
                node: (
                    node in sure,
                    len(partners.get(node, set()) & sure),
                    self.index.names[node][0][0] == name,
                    int(self.index.degrees[node]),
                )
                for node in own
            }
            best = max(ranks.values())
            winners = [node for node in own if ranks[node] == best]
            chosen.append(winners[0] if len(winners) == 1 else -1)
        return chosen

    def _hidden_values(self) -> list[tuple[int, int, int]]:
        """Find text values of the entities inside longer ones: 绿化 in 园林绿化."""
        names = [p for n, own in self.places.items() if not self.index.is_value[n] for p in own]
        found = []
        for head in [n for n in self.places if n in self.index.value_heads]:
            for relation, tail in self.index.told_of(head):
                if tail in self.places or not self.index.is_value[tail]:
                    continue
                start = self.text.find(self.index.ids[tail])
                end = start + len(self.index.ids[tail])
                if start >= 0 and not any(start < e and s < end for s, e in names):
                    self.places[tail] = [(start, end)]
                    found.append((head, relation, tail))
        return found

    def _facts(self, joined: Sequence[tuple[int, int, int]]) -> Iterator[Told]:
        for head, relation, tail in joined:
            if head in self.places and tail in self.places:
                if self.index.is_value[head]:
                    continue
                told = self._told(head, relation, tail)
                if told is not None:
                    yield told
                    yield from self._inverse(told)

    def _told(self, head: int, relation: int, tail: int) -> Told | None:
        own = self.index.relations[relation]
        ends = (self.index.kind(head), own.tail_type or self.index.kind(tail))
        if all(ends) and ends not in self.linker.plausible_ends.get(relation, {ends}):
            self._drop("types that the relation does not join")
            return None
        apart = [
            (max(h[0] - t[1], t[0] - h[1]), h, t)
            for h in self.places[head]
            for t in self.places[tail]
            if h != t
        ]
        if not apart:
            self._drop("head and tail in the same place")
            return None
        near = [(self._is_apart(h, t), distance, h, t) for distance, h, t in apart]
        is_apart, _, head_place, tail_place = min(near)
        if is_apart and not self._is_in_scope(head):
            self._drop("head and tail in different sentences")
            return None
        evidence = self._evidence(head_place, tail_place)
        return Told(head, relation, tail, head_place, tail_place, evidence)

    def _inverse(self, told: Told) -> Iterator[Told]:
        signature = self.index.signatures.get(self.index.relations[told.relation].id)
        if self.linker.rules.inverse and signature and signature.inverse:
            yield told._replace(is_inverse=True)

    def _value_facts(self) -> Iterator[Told]:
        heads = [node for node in self.places if node in self.index.values]
        if not heads:
            return
        found = find_values(self.text)
        for head in heads:
            for fact in self.index.values[head]:
                spans = [
                    span
                    for value in found
                    if (span := self._span(value, fact.text, is_date=fact.is_date)) is not None
                ]
                near = [
                    (len(self.text) - (t[1] - t[0]), max(h[0] - t[1], t[0] - h[1]), h, t)
                    for t in spans
                    for h in self.places[head]
                    if not self._is_apart(h, t) and (h[1] <= t[0] or t[1] <= h[0])
                ]
                if near:
                    _, _, h, t = min(near)
                    yield Told(head, fact.relation, -1, h, t, self._evidence(h, t))

    def _span(self, value: Value, text: str, *, is_date: bool) -> Place | None:
        """Return where the text says a date or quantity of the graph."""
        if is_date:
            return (value.start, value.end) if says_date(value, text) else None
        amount, _, unit = text.partition(" ")
        return says_quantity(value, amount, self.index.unit_names(unit) if unit else ())

    def _is_in_scope(self, head: int) -> bool:
        scope = self.linker.rules.scope
        return scope == "text" or (scope == "topic" and head == self.topic)

    @cached_property
    def topic(self) -> int:
        """Return the entity that the text begins with."""
        first = min((own[0], n) for n, own in self.places.items() if not self.index.is_value[n])
        return first[1]

    @cached_property
    def _sentences(self) -> list[Place]:
        return [(span.start, span.end) for span in sentences(self.text)]

    def _evidence(self, *places: Place) -> tuple[Place, ...]:
        return tuple(s for s in self._sentences if any(s[0] <= p[0] < s[1] for p in places))

    def _is_apart(self, first: Place, second: Place) -> bool:
        return len(self._evidence(first, second)) > 1

    def _drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
