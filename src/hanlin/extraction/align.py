"""Where in the text is what the model named? Exact spans with an honest status for each."""

from __future__ import annotations

from hanlin.extraction.facts import NO_TRIGGER, Event, Extraction, Mention, Relation, Status
from hanlin.extraction.ground import Ground, is_bordered
from hanlin.extraction.parse import NamedEvent, Parsed


def align(
    parsed: Parsed, text: str, *, id: str = "", language: str = "", until: Status = "folded"
) -> Extraction:
    """Find every name in the text.

    What is not there is kept with the status "missing". A name that is listed several times gets
    its occurrences in order. Places inside a longer name come last: in "张三丰认识张三" the second
    is 张三; so do places inside a Latin word: in "part of art" the second is art.

    An argument of a relation or event that was not listed as an entity becomes one without type.

    Args:
        parsed: what an answer says.
        text: what it was said about.
        id: of the text.
        language: of the text.
        until: the last step that is tried to find a name (see `ground`).

    Raises:
        MissingExtraError: a step needs a package that is not installed.
    """
    finder = _Finder(text, until)
    spans = _spans(parsed)
    listed = [(type_, name, spans[i]) for i, (type_, name) in enumerate(parsed.entities)]
    known = {name for _, name, _ in listed}
    for name in _arguments(parsed):
        if name not in known:
            known.add(name)
            listed.append(("", name, None))
    places: dict[int, Mention] = {}
    for index in sorted(range(len(listed)), key=lambda i: -len(listed[i][1])):
        type_, name, span = listed[index]
        places[index] = finder.find(name, type_, span=span)
    first: dict[str, int] = {}
    for index, (_, name, _) in enumerate(listed):
        first.setdefault(name, index)
    return Extraction(
        id=id,
        text=text,
        language=language,
        entities=tuple(places[index] for index in range(len(listed))),
        relations=tuple(Relation(r.type, first[r.head], first[r.tail]) for r in parsed.relations),
        events=tuple(_event(event, finder, first) for event in parsed.events),
        unreadable=parsed.unreadable,
        unread=parsed.unread,
    )


def _spans(parsed: Parsed) -> list[tuple[int, int] | None]:
    missing = len(parsed.entities) - len(parsed.spans)
    return [*parsed.spans, *[None] * missing]


def _arguments(parsed: Parsed) -> list[str]:
    ends = [name for relation in parsed.relations for name in (relation.head, relation.tail)]
    return ends + [name for event in parsed.events for _, name in event.arguments]


def _event(event: NamedEvent, finder: _Finder, first: dict[str, int]) -> Event:
    arguments = tuple((role, first[name]) for role, name in event.arguments)
    trigger = NO_TRIGGER
    if event.trigger:
        trigger = finder.find(event.trigger, event.type, is_trigger=True)
    return Event(event.type, trigger, arguments)


class _Finder:
    """Hands out the occurrences of names in one text."""

    def __init__(self, text: str, until: Status) -> None:
        self.text, self.ground = text, Ground(text, until=until)
        self.taken: list[tuple[int, int]] = []
        self.given: dict[tuple[str, bool], set[tuple[int, int]]] = {}

    def find(
        self,
        name: str,
        type_: str,
        *,
        is_trigger: bool = False,
        span: tuple[int, int] | None = None,
    ) -> Mention:
        """Return the next occurrence of a name that was not handed out for its type yet.

        A span that the answer gives is taken where the name stands there.
        """
        given = self.given.setdefault((type_, is_trigger), set())
        places, status = self.ground.places(name)
        places = [place for place in places if place not in given]
        if not places:
            return Mention(name, type_, status="missing")
        place = span if span in places else min(places, key=self._rank)
        assert place is not None
        given.add(place)
        self.taken.append(place)
        return Mention(self.text[place[0] : place[1]], type_, *place, status)

    def _rank(self, place: tuple[int, int]) -> tuple[bool, bool, int]:
        """Return what makes one place better than another: whole names, whole words, the first."""
        start, end = place
        is_inside = any(s <= start and end <= e and e - s > end - start for s, e in self.taken)
        return is_inside, not is_bordered(self.text, start, end), start
