"""What does a model's answer say? Read whatever can be read, count what cannot; never fail."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hanlin.extraction.prompt import ESCAPE, NOTHING, ROLE_MARK
from hanlin.extraction.schema import Schema

TYPE_MARKS, ITEM_MARKS, PART_MARKS = "：:", "；;", "，,"
Characters = list[tuple[str, bool]]  # character, whether it was escaped


@dataclass(frozen=True)
class NamedRelation:
    """A relation between two names."""

    type: str
    head: str
    tail: str


@dataclass(frozen=True)
class NamedEvent:
    """An event with (role, name) pairs; its trigger is "" where its type has none."""

    type: str
    trigger: str
    arguments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Parsed:
    """What an answer says, in its words; nothing has been looked up in the text yet.

    Attributes:
        entities: (type, name) in the order of the answer.
        relations: in the order of the answer.
        events: in the order of the answer.
        unread: lines, items and parts that made no sense, as they were written.
        spans: for each entity the `[start, end)` that the answer gives, None where it gives none.
    """

    entities: tuple[tuple[str, str], ...] = ()
    relations: tuple[NamedRelation, ...] = ()
    events: tuple[NamedEvent, ...] = ()
    unread: tuple[str, ...] = ()
    spans: tuple[tuple[int, int] | None, ...] = ()

    @property
    def unreadable(self) -> int:
        """Return how much made no sense."""
        return len(self.unread)


def parse_answer(answer: str, schema: Schema) -> Parsed:
    """Read an answer in the form of `format_answer`, with marks of either width.

    A line of an unknown type, an item with too few or too many parts, an unknown role: each goes to
    `unread`; all else is read.
    """
    reader = _Reader(schema)
    for line in answer.split("\n"):
        if line.strip() not in ("", NOTHING):
            reader.read(line)
    return Parsed(
        tuple(reader.entities),
        tuple(reader.relations),
        tuple(reader.events),
        tuple(reader.unread),
    )


class _Reader:
    """Collects what the lines say."""

    def __init__(self, schema: Schema) -> None:
        self.schema, self.pairs = schema, schema.pairs
        self.names = {*schema.entities, *schema.attributes}
        self.entities: list[tuple[str, str]] = []
        self.relations: list[NamedRelation] = []
        self.events: list[NamedEvent] = []
        self.unread: list[str] = []

    def read(self, line: str) -> None:
        """Read one line."""
        key, _, rest = _partition(_characters(line), TYPE_MARKS)
        type_, items = _plain(key), _split(rest, ITEM_MARKS)
        for item in items:
            is_pair = len(_split(item, PART_MARKS)) == 2
            if type_ in self.names and not (type_ in self.pairs and is_pair):
                self._entity(type_, item)
            elif type_ in self.pairs or (
                self.schema.is_open and is_pair and type_ not in self.schema.events
            ):
                self._relation(type_, item)
            elif type_ in self.schema.events:
                self._event(type_, item)
            else:
                self.unread.append(line)
                break

    def _entity(self, type_: str, item: Characters) -> None:
        name = _plain(item)
        if name:
            self.entities.append((type_, name))
        else:
            self._leave(type_, item)

    def _relation(self, type_: str, item: Characters) -> None:
        names = [_plain(part) for part in _split(item, PART_MARKS)]
        if len(names) == 2 and all(names):
            self.relations.append(NamedRelation(type_, names[0], names[1]))
        else:
            self._leave(type_, item)

    def _event(self, type_: str, item: Characters) -> None:
        event = self.schema.events[type_]
        parts = _split(item, PART_MARKS)
        trigger = _plain(parts.pop(0)) if event.trigger else ""
        if event.trigger and not trigger:
            self._leave(type_, item)
            return
        arguments = []
        for part in parts:
            argument = _argument(part, event.roles)
            if argument is None:
                self._leave(type_, part)
            else:
                arguments.append(argument)
        if trigger or arguments:
            self.events.append(NamedEvent(type_, trigger, tuple(arguments)))

    def _leave(self, type_: str, rest: Characters) -> None:
        """Keep what could not be read."""
        self.unread.append(f"{type_}: {''.join(character for character, _ in rest)}")


def _argument(part: Characters, roles: Collection[str]) -> tuple[str, str] | None:
    role, mark, name = _partition(part, ROLE_MARK)
    found = (_plain(role), _plain(name))
    return found if mark and found[0] in roles and found[1] else None


def _characters(line: str) -> Characters:
    """Resolve escapes and remember which characters were escaped."""
    characters: Characters = []
    is_escaped = False
    for character in line:
        if is_escaped:
            characters.append(("\n" if character == "n" else character, True))
            is_escaped = False
        elif character == ESCAPE:
            is_escaped = True
        else:
            characters.append((character, False))
    if is_escaped:
        characters.append((ESCAPE, True))
    return characters


def _split(characters: Characters, marks: str) -> list[Characters]:
    pieces: list[Characters] = []
    mark = True
    while mark:
        piece, mark, characters = _partition(characters, marks)
        pieces.append(piece)
    return pieces


def _partition(characters: Characters, marks: str) -> tuple[Characters, bool, Characters]:
    """Divide at the first mark that was not escaped; say whether there was one."""
    for index, (character, is_escaped) in enumerate(characters):
        if character in marks and not is_escaped:
            return characters[:index], True, characters[index + 1 :]
    return characters, False, []


def _plain(characters: Characters) -> str:
    """Return the text without outer white space that was not escaped."""
    start, end = 0, len(characters)
    while start < end and _is_blank(characters[start]):
        start += 1
    while end > start and _is_blank(characters[end - 1]):
        end -= 1
    return "".join(character for character, _ in characters[start:end])


def _is_blank(character: tuple[str, bool]) -> bool:
    return character[0].isspace() and not character[1]
