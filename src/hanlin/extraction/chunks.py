"""How is a long text asked about in parts, and what is found in them put together again?

Chunks end where sentences do, and begin with the last sentences of the one before: what is told
over a border is seen whole at least once. A second pass lays the borders elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hanlin.core.records import Span
from hanlin.extraction.facts import Event, Extraction, Mention, Relation
from hanlin.text.sentences import sentences


@dataclass(frozen=True)
class Chunking:
    """How texts are divided.

    Attributes:
        max_chars: characters of a chunk; a longer sentence is cut.
        overlap: characters, in whole sentences, that a chunk repeats of the one before.
        passes: how often the text is gone through, each time with other borders.
    """

    max_chars: int = 1000
    overlap: int = 100
    passes: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.overlap < self.max_chars and self.passes >= 1):
            raise ValueError(
                f"max_chars {self.max_chars}, overlap {self.overlap}, passes {self.passes}: the "
                "overlap must be smaller than a chunk, and one pass is the least"
            )


def chunks(text: str, chunking: Chunking) -> Iterator[Span]:
    """Yield the chunks of a text, pass by pass; a text that is short enough is one, once."""
    if len(text) <= chunking.max_chars:
        yield Span(0, len(text))
        return
    pieces = list(_pieces(text, chunking.max_chars))
    for number in range(chunking.passes):
        first = chunking.max_chars * (chunking.passes - number) // chunking.passes
        yield from _grouped(pieces, chunking, first=first)


def _pieces(text: str, size: int) -> Iterator[Span]:
    """Yield the sentences, what is longer than a chunk in parts."""
    for sentence in sentences(text):
        for start in range(sentence.start, sentence.end, size):
            yield Span(start, min(start + size, sentence.end))


def _grouped(pieces: Sequence[Span], chunking: Chunking, *, first: int) -> Iterator[Span]:
    """Yield groups of pieces that follow one another; the first group is at most `first` long."""
    start, size = 0, first
    while start < len(pieces):
        end = start + 1
        while end < len(pieces) and pieces[end].end - pieces[start].start <= size:
            end += 1
        yield Span(pieces[start].start, pieces[end - 1].end)
        if end == len(pieces):
            return
        back = end
        while back - 1 > start and pieces[end - 1].end - pieces[back - 1].start <= chunking.overlap:
            back -= 1
        start, size = back, chunking.max_chars


def joined(whole: Extraction, found: Iterable[tuple[int, Extraction]]) -> Extraction:
    """Put together what was found in the chunks of a text, each thing once.

    Args:
        whole: the text, with its id and language.
        found: (first character of the chunk, what is in it).
    """
    collector = _Collector(whole)
    for offset, part in found:
        collector.add(offset, part)
    return collector.done()


class _Collector:
    """Collects the facts of one text and knows those that it has."""

    def __init__(self, whole: Extraction) -> None:
        self.whole = whole
        self.entities: list[Mention] = []
        self.known: dict[tuple[object, ...], int] = {}
        self.relations: dict[Relation, None] = {}
        self.events: dict[tuple[object, ...], Event] = {}
        self.unread: list[str] = []
        self.unreadable = 0

    def add(self, offset: int, part: Extraction) -> None:
        """Add what was found in one chunk."""
        places = [self._entity(_moved(mention, offset)) for mention in part.entities]
        for relation in part.relations:
            joined_ = Relation(relation.type, places[relation.head], places[relation.tail])
            self.relations.setdefault(joined_)
        for event in part.events:
            self._event(_moved(event.trigger, offset), event, places)
        self.unread += part.unread
        self.unreadable += part.unreadable

    def _entity(self, mention: Mention) -> int:
        """Return the index of a mention; one without type is the typed one at its place."""
        place = _place(mention)
        key = (mention.type, *place)
        if not mention.type and ("", *place) not in self.known:
            typed = [index for own, index in self.known.items() if own[1:] == place]
            if typed:
                return typed[0]
        if key not in self.known:
            self.known[key] = len(self.entities)
            self.entities.append(mention)
        return self.known[key]

    def _event(self, trigger: Mention, event: Event, places: Sequence[int]) -> None:
        """Add an event, or its arguments to the one with the same trigger."""
        arguments = tuple((role, places[index]) for role, index in event.arguments)
        key: tuple[object, ...] = (event.type, *_place(trigger))
        if not trigger.text:
            key = (event.type, arguments)
        old = self.events.get(key)
        both = tuple(dict.fromkeys((*(old.arguments if old else ()), *arguments)))
        self.events[key] = Event(event.type, trigger, both)

    def done(self) -> Extraction:
        """Return everything, entities in the order of the text."""
        order = sorted(
            range(len(self.entities)),
            key=lambda i: (self.entities[i].start is None, self.entities[i].start or 0, i),
        )
        new = {old: place for place, old in enumerate(order)}
        events = [
            replace(event, arguments=tuple((role, new[i]) for role, i in event.arguments))
            for event in self.events.values()
        ]
        return replace(
            self.whole,
            entities=tuple(self.entities[index] for index in order),
            relations=tuple(Relation(r.type, new[r.head], new[r.tail]) for r in self.relations),
            events=tuple(events),
            unreadable=self.unreadable,
            unread=tuple(self.unread),
        )


def _moved(mention: Mention, offset: int) -> Mention:
    if mention.start is None or mention.end is None:
        return mention
    return replace(mention, start=mention.start + offset, end=mention.end + offset)


def _place(mention: Mention) -> tuple[object, ...]:
    """Return where a mention is; the name itself where it is nowhere."""
    return (mention.text,) if mention.start is None else (mention.start, mention.end)
