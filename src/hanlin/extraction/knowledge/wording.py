"""What are the types and relations of a graph called, and which is a text asked about?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from functools import cached_property

from hanlin.extraction.knowledge.index import GraphIndex, signature_shares
from hanlin.extraction.schema import ANY, Schema

Shares = dict[int, dict[tuple[str, str], float]]


class Wording:
    """The names of one language; different relations never share one.

    Args:
        index: the graph.
        language: "zh", "en", ...
        shares: `signature_shares(index)`, which is the same for all languages.
    """

    def __init__(self, index: GraphIndex, language: str, shares: Shares) -> None:
        self.index, self.language, self.shares = index, language, shares
        self._inverses = {
            number: signature.inverse
            for number, relation in enumerate(index.relations)
            if (signature := index.signatures.get(relation.id)) and signature.inverse
        }

    def type_of(self, node: int) -> str:
        """Return the name of an entity's type, "" where it has none."""
        return self.index.kind(node, self.language)

    def relation(self, number: int, *, is_inverse: bool = False) -> str:
        """Return the name of a relation, or of its inverse."""
        return self._inverse_names[number] if is_inverse else self._names[number]

    def tail_type(self, number: int) -> str:
        """Return the name of the type that the source gives a relation's tails."""
        type_ = self.index.relations[number].tail_type
        return self.index.label(type_, self.language) if type_ else ""

    @cached_property
    def _names(self) -> list[str]:
        labels = [self.index.label(one.id, self.language) for one in self.index.relations]
        ids = Counter(one.id for one in self.index.relations)
        whose: dict[str, set[str]] = {}
        for label, one in zip(labels, self.index.relations, strict=True):
            whose.setdefault(label, set()).add(one.id)
        names = []
        for number, (label, one) in enumerate(zip(labels, self.index.relations, strict=True)):
            if len(whose[label]) > 1:
                label = f"{label} ({one.id})"
            if ids[one.id] > 1 and one.tail_type:
                label = f"{label}（{self.tail_type(number)}）"
            names.append(label)
        return names

    @cached_property
    def _inverse_names(self) -> dict[int, str]:
        by_id = {one.id: name for one, name in zip(self.index.relations, self._names, strict=True)}
        return {
            number: by_id.get(inverse) or self.index.label(inverse, self.language)
            for number, inverse in self._inverses.items()
        }

    @cached_property
    def ends(self) -> dict[str, tuple[str, str]]:
        """Return for each relation the types of head and tail that most of its facts have."""
        ends: dict[str, tuple[str, str]] = {}
        for number in range(len(self.index.relations)):
            shares = self.shares.get(number, {})
            head, tail = max(shares, key=lambda e: (shares[e], e)) if shares else (ANY, ANY)
            pair = (self._type(head), self._type(tail))
            ends.setdefault(self._names[number], pair)
            if number in self._inverses:
                ends.setdefault(self._inverse_names[number], (pair[1], pair[0]))
        return ends

    def _type(self, type_: str) -> str:
        """Return a type's name in this language; `kind` gave it in none."""
        return self._type_names.get(type_, type_)

    @cached_property
    def _type_names(self) -> dict[str, str]:
        pairs = {
            self.index.kind(node): self.index.kind(node, self.language) for node in self.index.kinds
        }
        own = {one.tail_type for one in self.index.relations if one.tail_type}
        return {type_: self.index.label(type_, self.language) for type_ in own} | pairs

    def schema(self) -> Schema:
        """Return all types of entities and relations.

        Raises:
            ValueError: a name cannot be used in a schema.
        """
        types = {name for ends in self.ends.values() for name in ends if name}
        types |= {self.type_of(node) for node in self.index.kinds}
        entities = sorted(types)
        relations = {
            name: tuple(end if end in types else ANY for end in ends)
            for name, ends in sorted(self.ends.items())
        }
        return Schema(language=self.language, entities=entities, relations=relations)

    def asked(
        self, told: Iterable[str], types: Iterable[str], *, topic: str, negatives: int,
        rng: random.Random,
    ) -> Schema:  # fmt: skip
        """Return the types that a text is asked about: those in it, and some that are not.

        Half of the others are hard: relations of the same topic, or between the same types as those
        that are told; the other half is drawn from all.

        Args:
            told: relations that the text tells.
            types: types of the entities in it.
            topic: type of what it is about.
            negatives: relations, and types, that are not there.
            rng: draws and orders them.
        """
        relations, ends = dict.fromkeys(told), self.ends
        pairs = {ends[name] for name in relations if name in ends}
        others = [name for name in ends if name not in relations]
        hard = [name for name in others if ends[name][0] == topic or ends[name] in pairs]
        chosen = rng.sample(hard, min(len(hard), (negatives + 1) // 2))
        rest = [name for name in others if name not in chosen]
        chosen += rng.sample(rest, min(len(rest), negatives - len(chosen)))
        wanted = list(relations) + chosen
        rng.shuffle(wanted)
        entities = dict.fromkeys(type_ for type_ in types if type_)
        known = self._type_list
        absent = [type_ for type_ in known if type_ not in entities]
        entities |= dict.fromkeys(rng.sample(absent, min(len(absent), negatives)))
        listed = list(entities)
        rng.shuffle(listed)
        return Schema(
            language=self.language,
            entities=listed,
            relations={
                name: tuple(end if end in entities else ANY for end in ends.get(name, (ANY, ANY)))
                for name in wanted
            },
        )

    @cached_property
    def _type_list(self) -> list[str]:
        return sorted({self.type_of(node) for node in self.index.kinds} - {""})


def wordings(index: GraphIndex, languages: Iterable[str]) -> dict[str, Wording]:
    """Return the wording of each language."""
    shares = signature_shares(index)
    return {language: Wording(index, language, shares) for language in languages}
