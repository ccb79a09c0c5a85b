"""What does a knowledge graph know of an entity? The look-ups of a plan, wherever it is kept.

A store in a file (`graph.GraphStore`) and a server (`neo4j.Neo4jGraph`) only tell which names and
facts they hold; what an alias, a relation or a question means is decided here, so that both answer
alike.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from hanlin.core.closing import Closing
from hanlin.extraction.knowledge.values import value_kind
from hanlin.text.normalize import fold_width

LONGEST_NAME = 60  # characters of a name that is looked for in a question
MOST = 1000  # facts that one look-up gives; more are cut off, and said to be
VALUES = ("text", "date", "quantity")  # kinds of a tail that is no entity
End = Literal["head", "tail"]
ENDS: tuple[tuple[End, End], ...] = (("head", "tail"), ("tail", "head"))  # one and the other
FactRow = tuple[str, str, str, str]  # head, relation, tail, kind of the tail
Called = tuple[str, str]  # a name and its language


@dataclass(frozen=True)
class Triple:
    """A fact in ids and in names."""

    head: str
    relation: str
    tail: str
    head_name: str
    relation_name: str
    tail_name: str


@dataclass(frozen=True)
class Found:
    """What a look-up gives.

    Attributes:
        result: names of entities or values, or of relations; empty where nothing is known.
        message: the call and its result in words.
        triples: the facts behind it.
        ids: of the entities (or the values themselves), to go on with in the next look-up.
    """

    result: tuple[str, ...]
    message: str
    triples: tuple[Triple, ...] = ()
    ids: tuple[str, ...] = field(default=())


class Ids(tuple[str, ...]):
    """Ids in place of aliases: all of them are meant."""


@dataclass(frozen=True)
class Relation:
    """What a graph holds of a relation.

    Attributes:
        id: of the relation.
        names: the main one first.
        inverse: its id, or "".
        has_facts: not only named as the inverse of another.
    """

    id: str
    names: tuple[Called, ...] = ()
    inverse: str = ""
    has_facts: bool = True


@dataclass(frozen=True)
class Only:
    """Which facts are meant; None is any.

    Attributes:
        relations: of which.
        others: with which ids at the other end.
    """

    relations: Sequence[str] | None = None
    others: Sequence[str] | None = None


ANY = Only()


class LookUps(Closing):
    """A knowledge graph that can be asked.

    Args:
        language: in which entities and relations are named, where they have such names.
    """

    def __init__(self, *, language: str = "") -> None:
        self.language = language

    @abstractmethod
    def called(self, name: str) -> list[str]:
        """Return the ids of what is called by a folded name, at most `MOST`."""

    @abstractmethod
    def is_known(self, id_: str) -> bool:
        """Tell whether an id or a value is an end of any fact."""

    @abstractmethod
    def names_of(self, ids: Collection[str]) -> dict[str, list[Called]]:
        """Return what things are called, by id, the main name first; without the nameless."""

    @abstractmethod
    def heads_among(self, words: Sequence[str]) -> set[str]:
        """Return the words that are ids of entities with facts."""

    @abstractmethod
    def names_among(self, folded: Sequence[str]) -> set[str]:
        """Return the folded words that are names of entities with facts."""

    @abstractmethod
    def all_relations(self) -> Iterable[Relation]:
        """Return the relations of the facts and their inverses, by id."""

    @abstractmethod
    def facts(self, end: End, ids: Sequence[str], only: Only = ANY) -> list[FactRow]:
        """Return the facts that have one of the ids at an end, at most `MOST`.

        Args:
            end: where the ids stand.
            ids: whose facts come one after the other.
            only: which of them.
        """

    def get_entity_info(self, entity_aliases: Sequence[str]) -> Found:
        """Return all that is known of an entity, one line for each fact."""
        ids = self.entities(entity_aliases)
        rows = [*self.facts("head", ids), *self.facts("tail", ids)][:MOST]
        triples = self._triples(rows)
        lines = tuple(f"{t.head_name} {t.relation_name} {t.tail_name}" for t in triples)
        said = f"{self._said(entity_aliases)}: {_listed(lines, triples, '; ')}"
        return Found(lines, said, tuple(triples), tuple(dict.fromkeys(t.tail for t in triples)))

    def find_entity_or_value(
        self, entity_aliases: Sequence[str], relation_aliases: Sequence[str]
    ) -> Found:
        """Return what entities are joined with by a relation; where nothing, by its inverse."""
        ids = self.entities(entity_aliases)
        call = f"{', '.join(relation_aliases)} of {self._said(entity_aliases)}"
        for names in self._wanted(relation_aliases) if ids else ():
            for end, other in ENDS:
                relations = self._relations_called(names, is_inverse=end == "tail")
                rows = self.facts(end, ids, Only(relations)) if relations else []
                if not rows:
                    continue
                triples = self._triples(rows)
                found = {getattr(t, other): getattr(t, f"{other}_name") for t in triples}
                result = tuple(found.values())
                said = f"{call}: {_listed(result, triples)}"
                return Found(result, said, tuple(triples), tuple(found))
        return Found((), f"{call}: {_listed((), [])}")

    def find_relationship(
        self, entity1_aliases: Sequence[str], entity2_aliases: Sequence[str]
    ) -> Found:
        """Return the relations between two entities, in either direction."""
        ids = self.entities(entity1_aliases)
        only = Only(others=self.entities(entity2_aliases))
        triples = self._triples([*self.facts("head", ids, only), *self.facts("tail", ids, only)])
        names = tuple(dict.fromkeys(t.relation_name for t in triples))
        call = f"between {self._said(entity1_aliases)} and {self._said(entity2_aliases)}"
        return Found(names, f"{call}: {_listed(names, triples)}", tuple(triples))

    def entities(self, aliases: Sequence[str]) -> list[str]:
        """Return the ids that are called by the first alias that anything is called by."""
        if isinstance(aliases, Ids):
            return list(aliases)
        for alias in aliases:
            ids = self.called(fold(alias)) or ([alias] if self.is_known(alias) else [])
            if ids:
                return ids
        return []

    def named_in(self, question: str) -> list[str]:
        """Return the names of entities that stand in a question, the longest one at each place."""
        text = fold_width(question)
        spans = [
            (start, end)
            for start in range(len(text))
            for end in range(start + 2, min(start + LONGEST_NAME, len(text)) + 1)
            if not (_goes_on(text, start) or _goes_on(text, end))
        ]
        words = sorted({text[start:end] for start, end in spans})
        known = self.heads_among(words)
        known |= self.names_among(sorted({word.casefold() for word in words}))
        found, behind = [], 0
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            word = text[start:end]
            if start >= behind and (word in known or word.casefold() in known):
                found.append(word)
                behind = end
        return found

    def relations(self, language: str = "") -> list[str]:
        """Return what the relations of the facts are called, in a language or the graph's."""
        own = [relation for relation in self._relations.values() if relation.has_facts]
        return list(dict.fromkeys(self._best(one.id, one.names, language) for one in own))

    def name(self, id_: str, language: str = "") -> str:
        """Return what something is called, in a language or the graph's.

        A value is its own name.
        """
        return self._best(id_, self.names_of([id_]).get(id_, ()), language)

    def forget(self) -> None:
        """Ask for the relations again: the graph is another than before."""
        for kept in ("_relations", "_relation_names", "_inverses"):
            self.__dict__.pop(kept, None)

    def _best(self, id_: str, names: Iterable[Called], language: str = "") -> str:
        found, language = "", language or self.language
        for text, own in names:
            if own in ("", language):
                return text
            found = found or text
        return found or _end(id_)

    def _said(self, aliases: Sequence[str]) -> str:
        if not isinstance(aliases, Ids):
            return ", ".join(aliases)
        names = self.names_of(aliases)
        return ", ".join(self._best(id_, names.get(id_, ())) for id_ in aliases)

    def _triples(self, rows: Sequence[FactRow]) -> list[Triple]:
        names = self.names_of(
            {id_ for head, relation, tail, _ in rows for id_ in (head, relation, tail)}
        )
        return [
            Triple(
                head, relation, tail, self._best(head, names.get(head, ())),
                self._best(relation, names.get(relation, ())),
                tail if kind in VALUES or value_kind(tail) != "text"
                else self._best(tail, names.get(tail, ())),
            )
            for head, relation, tail, kind in rows
        ]  # fmt: skip

    def _wanted(self, aliases: Sequence[str]) -> list[set[str]]:
        """Return what to look for, first exactly as it is said, then anything like it."""
        wanted = {fold(alias) for alias in aliases if alias}
        if not wanted:
            return []
        own = {name for names in self._relation_names.values() for name in names}
        like = {
            n for n in own for w in wanted if len(min(n, w, key=len)) > 1 and (n in w or w in n)
        }
        return [wanted, like]

    def _relations_called(self, names: set[str], *, is_inverse: bool) -> list[str]:
        """Return the ids of relations with one of the names, or whose inverses have one."""
        called = {id_ for id_, own in self._relation_names.items() if own & names}
        return [
            id_
            for id_ in self._relations
            if id_ in called or (is_inverse and self._inverses.get(id_) in called)
        ]

    @cached_property
    def _relations(self) -> dict[str, Relation]:
        return {relation.id: relation for relation in self.all_relations()}

    @cached_property
    def _relation_names(self) -> dict[str, set[str]]:
        return {
            id_: {
                fold(_end(id_)), fold(_end(id_)).replace("_", " "),
                *(fold(text) for text, _ in relation.names),
            }
            for id_, relation in self._relations.items()
        }  # fmt: skip

    @cached_property
    def _inverses(self) -> dict[str, str]:
        pairs = [(one.id, one.inverse) for one in self._relations.values() if one.inverse]
        return {inverse: relation for relation, inverse in pairs} | dict(pairs)


def fold(name: str) -> str:
    """Return a name as names are compared: width and case do not count."""
    return fold_width(name).strip().casefold()


def _end(id_: str) -> str:
    """Return the last part of an id, which may be an IRI."""
    return id_.rstrip("/").replace("#", "/").rpartition("/")[2]


def _listed(names: Sequence[str], triples: Sequence[Triple], between: str = ", ") -> str:
    more = f" (the first {MOST:,} facts; there may be more)" if len(triples) >= MOST else ""
    return (between.join(names) or "nothing is known") + more


def _goes_on(text: str, at: int) -> bool:
    """Tell whether a word of a script with spaces goes on across a place."""
    around = text[at - 1 : at + 1] if at else ""
    return len(around) == 2 and all(c.isalnum() and c < "\u2e80" for c in around)
