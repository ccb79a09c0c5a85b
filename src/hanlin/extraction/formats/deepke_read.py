"""What is read from an answer in one of DeepKE's forms, with a model's mistakes in it?

Types and roles are known from the schema: they tell the parts of a record from one another, also
where a name holds a comma or a bracket.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hanlin.extraction.formats.answer_format import Question
from hanlin.extraction.formats.deepke_words import NOTHING, Words, words_of
from hanlin.extraction.formats.loose_json import read_value, shown
from hanlin.extraction.parse import NamedEvent, NamedRelation, Parsed

COMMA, COLON, SEMICOLON = "[,，]", "[:：]", "[;；]"
OPEN, CLOSE = "[(（\\[<{]", "[)）\\]>}]"


def read_answer(answer: str, question: Question, *, form: int) -> Parsed:
    """Read whatever can be read; the rest goes to `unread`."""
    reader = _Reader(question, form)
    records = answer.strip("\n").split("\n")
    if question.task == "EE" and form in (1, 2):
        records = re.split(r"\n\s*\n", answer)
    for record in records:
        if record.strip() not in ("", NOTHING):
            reader.read(record.strip("\n"))
    return Parsed(
        tuple(reader.entities), tuple(reader.relations), tuple(reader.events), tuple(reader.unread)
    )


def one_of(names: Iterable[str]) -> str:
    """Return a pattern of names, the longest first."""
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or r"(?!)"


class _Reader:
    """Collects what the records say."""

    def __init__(self, question: Question, form: int) -> None:
        self.schema, self.task, self.form = question.schema, question.task, form
        self.patterns = _patterns(question, form)
        self.words = words_of(self.schema)
        self.entities: list[tuple[str, str]] = []
        self.relations: list[NamedRelation] = []
        self.events: list[NamedEvent] = []
        self.unread: list[str] = []

    def read(self, record: str) -> None:
        """Read one record."""
        is_read = self._dictionary(record) if self.form == 3 else self._matched(record)
        if not is_read:
            self.unread.append(record)

    def _matched(self, record: str) -> bool:
        for pattern in self.patterns:
            match = re.fullmatch(pattern, record, re.DOTALL)
            if match:
                return self._take({key: text or "" for key, text in match.groupdict().items()})
        return False

    def _take(self, found: Mapping[str, str]) -> bool:
        if self.task == "NER":
            name = found["name"]
            if name != NOTHING:
                self.entities.append((found["type"], name))
        elif self.task == "RE":
            if NOTHING not in (found["head"], found["tail"]):
                self.relations.append(NamedRelation(found["type"], found["head"], found["tail"]))
        else:
            return self._event(found["type"], found["trigger"], found["rest"])
        return True

    def _event(self, type_: str, trigger: str, rest: str) -> bool:
        event = self.schema.events[type_]
        trigger = "" if trigger == NOTHING or not event.trigger else trigger
        if event.trigger and not trigger:
            return False
        arguments = self._arguments(rest, event.roles) if rest.strip() not in ("", NOTHING) else []
        if trigger or arguments:
            self.events.append(NamedEvent(type_, trigger, tuple(arguments)))
        return bool(trigger or arguments)

    def _arguments(self, rest: str, roles: list[str]) -> list[tuple[str, str]]:
        """Find roles in the text of the arguments, and what is said of each."""
        for pattern, is_before in _argument_patterns(roles, self.words, self.form):
            matches = list(re.finditer(pattern, rest, re.DOTALL))
            if matches:
                return self._between(rest, matches, is_before=is_before)
        self.unread.append(rest)
        return []

    def _between(
        self, rest: str, matches: list[re.Match[str]], *, is_before: bool
    ) -> list[tuple[str, str]]:
        found = []
        for number, match in enumerate(matches):
            if is_before:
                end = matches[number + 1].start() if number + 1 < len(matches) else len(rest)
                name = rest[match.end() : end]
            else:
                name = rest[matches[number - 1].end() if number else 0 : match.start()]
            if self.form == 1:
                name = re.sub(rf"^{_numbered(self.words.argument)}", "", name)
            if name not in ("", NOTHING):
                found.append((match["role"], name))
        before = rest[: matches[0].start()] if is_before else rest[matches[-1].end() :]
        if before.strip(" ;；\n"):
            self.unread.append(before)
        return found

    def _dictionary(self, record: str) -> bool:
        value, is_right = read_value(record)
        if not is_right:
            self.unread.append(record)
        items = value if isinstance(value, (list, tuple)) else [value]
        results = [isinstance(item, dict) and self._row(item) for item in items]
        return not is_right or (bool(results) and all(results))

    def _row(self, row: dict[Any, Any]) -> bool:
        known: Iterable[str]
        keys: tuple[str, ...]
        if self.task == "NER":
            keys, known = ("entity_type", "entity"), self.schema.entities
        elif self.task == "RE":
            keys, known = ("relation", "head", "tail"), self.schema.relations
        else:
            keys, known = ("event_type", "event_trigger"), self.schema.events
        values = [row.get(key) for key in keys]
        texts = [value for value in values if isinstance(value, str) and value]
        if len(texts) < len(values) or texts[0] not in known:
            return False
        if self.task == "NER":
            self.entities.append((texts[0], texts[1]))
        elif self.task == "RE":
            self.relations.append(NamedRelation(texts[0], texts[1], texts[2]))
        else:
            return self._event_row(texts[0], texts[1], row.get("arguments"))
        return True

    def _event_row(self, type_: str, trigger: str, arguments: object) -> bool:
        roles = self.schema.events[type_].roles
        has_trigger = self.schema.events[type_].trigger
        trigger = trigger if has_trigger and trigger != NOTHING else ""
        found = []
        for item in arguments if isinstance(arguments, (list, tuple)) else []:
            pair = (item.get("role"), item.get("argument")) if isinstance(item, dict) else ("", "")
            if pair[0] in roles and isinstance(pair[1], str) and pair[1] not in ("", NOTHING):
                found.append((str(pair[0]), pair[1]))
            else:
                self.unread.append(shown(item))
        is_there = bool(trigger) if has_trigger else bool(found)
        if is_there:
            self.events.append(NamedEvent(type_, trigger, tuple(found)))
        return is_there


def _patterns(question: Question, form: int) -> list[str]:
    """Return the patterns of a record, the regular one first."""
    schema, words = question.schema, words_of(question.schema)
    if question.task == "NER":
        type_ = f"(?P<type>{one_of(schema.entities)})"
        return [
            [
                rf"\s*{OPEN}(?P<name>.+){COMMA}\s*{type_}{CLOSE}?\s*[,，;；]?",
                rf"\s*{OPEN}{type_}{COMMA}\s*(?P<name>.+?){CLOSE}?\s*[,，;；]?",
            ],
            [
                rf"\s*{_loosely(words.entity)}(?P<name>.+){COMMA}\s*{_loosely(words.entity_type)}{type_}\s*"
            ],
            [rf"\s*{type_}{COLON}(?P<name>.+)"],
            [],
        ][form]
    if question.task == "RE":
        type_ = f"(?P<type>{one_of(schema.relations)})"
        head, tail = "(?P<head>.+?)", "(?P<tail>.+?)"
        return [
            [rf"\s*{OPEN}{head}{COMMA}\s*{type_}{COMMA}{tail}(?:{CLOSE}\s*[,，;；]?)?"],
            [
                rf"\s*{_loosely(words.head)}{head}{COMMA}\s*{_loosely(words.relation)}{type_}{COMMA}"
                rf"\s*{_loosely(words.tail)}{tail}"
            ],
            [rf"\s*{type_}{COLON}{head}{COMMA}{tail}"],
            [],
        ][form]
    type_ = f"(?P<type>{one_of(schema.events)})"
    return [
        [rf"\s*{OPEN}(?P<trigger>.+?){COMMA}\s*{type_}(?:{COMMA}(?P<rest>.*?))?(?:{CLOSE}\s*)?"],
        [
            rf"\s*{_loosely(words.trigger)}(?P<trigger>.+?){COMMA}\s*{_loosely(words.event_type)}"
            rf"{type_}(?:\n(?P<rest>.*))?"
        ],
        [rf"\s*{type_}{COLON}(?P<trigger>[^\n]+)(?:\n(?P<rest>.*))?"],
        [],
    ][form]


def _argument_patterns(roles: list[str], words: Words, form: int) -> list[tuple[str, bool]]:
    """Return patterns that find roles, and whether a role stands before its argument."""
    role = f"(?P<role>{one_of(roles)})"
    if form == 0:
        return [(rf"(?:^|{SEMICOLON})\s*{role}#", True), (rf"#{role}(?:{SEMICOLON}|$)", False)]
    if form == 1:
        return [(rf"{COMMA}\s*{_numbered(words.role)}{role}(?:{SEMICOLON}|$)", False)]
    return [(rf"(?:^|{SEMICOLON})\s*{role}{COLON}", True)]


def _numbered(word: str) -> str:
    return r"\d+".join(map(_loosely, word.split("{}")))


def _loosely(word: str) -> str:
    """Let the blank at the end of a word stand or not."""
    return re.escape(word) if word == word.rstrip() else f"{re.escape(word.rstrip())} ?"
