"""Where in the text is what the model named? Exact spans with an honest status for each."""

from __future__ import annotations

from hanlin.extraction.facts import Event, Extraction, Mention, Relation, Status
from hanlin.extraction.parse import NamedEvent, Parsed
from hanlin.text.normalize import fold_width


def align(parsed: Parsed, text: str, *, id: str = "", language: str = "") -> Extraction:
    """Find every name in the text.

    A name is looked for as it is written, then with the width of characters folded; what is not
    there is kept with the status "missing". A name that is listed several times gets its
    occurrences in order. Places inside a longer name come last: in "张三丰认识张三" the second
    is 张三.

    An argument of a relation or event that was not listed as an entity becomes one without type.
    """
    finder = _Finder(text)
    listed = list(parsed.entities)
    known = {name for _, name in listed}
    for name in _arguments(parsed):
        if name not in known:
            known.add(name)
            listed.append(("", name))
    places: dict[int, Mention] = {}
    for index in sorted(range(len(listed)), key=lambda i: -len(listed[i][1])):
        places[index] = finder.find(listed[index][1], listed[index][0])
    first: dict[str, int] = {}
    for index, (_, name) in enumerate(listed):
        first.setdefault(name, index)
    return Extraction(
        id=id,
        text=text,
        language=language,
        entities=tuple(places[index] for index in range(len(listed))),
        relations=tuple(Relation(r.type, first[r.head], first[r.tail]) for r in parsed.relations),
        events=tuple(_event(event, finder, first) for event in parsed.events),
        unreadable=parsed.unreadable,
    )


def _arguments(parsed: Parsed) -> list[str]:
    ends = [name for relation in parsed.relations for name in (relation.head, relation.tail)]
    return ends + [name for event in parsed.events for _, name in event.arguments]


def _event(event: NamedEvent, finder: _Finder, first: dict[str, int]) -> Event:
    arguments = tuple((role, first[name]) for role, name in event.arguments)
    return Event(event.type, finder.find(event.trigger, event.type, is_trigger=True), arguments)


class _Finder:
    """Hands out the occurrences of names in one text."""

    def __init__(self, text: str) -> None:
        self.text, self.folded = text, fold_width(text)
        self.taken: list[tuple[int, int]] = []
        self.given: dict[tuple[str, str, bool], list[int]] = {}

    def find(self, name: str, type_: str, *, is_trigger: bool = False) -> Mention:
        """Return the next occurrence of a name (of a type) that was not handed out yet."""
        given = self.given.setdefault((name, type_, is_trigger), [])
        found, status = self._starts(name)
        starts = [start for start in found if start not in given]
        if not starts:
            return Mention(name, type_, status="missing")
        start = min(starts, key=lambda s: (self._is_inside(s, s + len(name)), s))
        given.append(start)
        end = start + len(name)
        self.taken.append((start, end))
        return Mention(self.text[start:end], type_, start, end, status)

    def _starts(self, name: str) -> tuple[list[int], Status]:
        exact = _occurrences(self.text, name)
        return (
            (exact, "exact") if exact else (_occurrences(self.folded, fold_width(name)), "folded")
        )

    def _is_inside(self, start: int, end: int) -> bool:
        """Tell whether a place is a part of a longer name's."""
        return any(s <= start and end <= e and e - s > end - start for s, e in self.taken)


def _occurrences(text: str, name: str) -> list[int]:
    starts, start = [], text.find(name) if name else -1
    while start >= 0:
        starts.append(start)
        start = text.find(name, start + 1)
    return starts
