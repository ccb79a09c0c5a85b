"""What can a model be held to, so that each of its answers can be read?

    grammar = grammar_for(question, "json", text=text)   # goes into the sampling of the caller

Names of types come only from the schema. With `text` a name is always a part of it, character for
character: spans that exist by construction (llguidance's `substring_chunks`). Marks inside of names
are escaped as the form does it, and an escape is never cut in two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from hanlin.core.records import Grammar
from hanlin.extraction.formats.answer_format import Question
from hanlin.extraction.prompt import ESCAPE, NOTHING, ROLE_MARK, escape, marks_of
from hanlin.extraction.schema import MARKS, Schema

Constrain = Literal["off", "schema", "text"]
MAX_ITEMS = 32  # names of one type, lines, arguments: a model that repeats itself comes to an end
FORMS = ("lines", "json", "json-spans", "iepile")
NOT_BLANK = r"/(.|\n)*[^\s\x1c-\x1f](.|\n)*/"
# A character of a name: none of the form's marks, or one that is escaped.
LINE_CHARACTER = r"([^：:；;，,=\\\n]|\\[^\n])"
JSON_CHARACTER = r'([^"\\\x00-\x1f]|\\["\\nrtbf]|\\u00[01][0-9a-f])'
LONGEST_NAME = 200  # characters


def grammar_for(question: Question, form: str, *, text: str | None = None) -> Grammar:
    """Return the grammar of all answers to a question in a form.

    Args:
        question: what is asked, with its schema.
        form: one of `FORMS`.
        text: the names of an answer must stand in it; None lets the model write any.

    Raises:
        ValueError: there is no grammar for this form.
    """
    if form not in FORMS:
        raise ValueError(f"there is no grammar for {form!r}; there is for {', '.join(FORMS)}")
    schema, is_lines = question.schema, form == "lines"
    if is_lines:
        start = _lines(schema)
    elif form == "iepile":
        start = _iepile(question)
    else:
        start = _json(schema, has_spans=form == "json-spans")
    return Grammar("lark", "\n".join([*start, *_names(text, is_lines=is_lines)]) + "\n")


def grammars(constrain: Constrain, form: str) -> Callable[[Question, str], Grammar | None]:
    """Return what gives the grammar of the answers to a question about a text; None leaves it free.

    Args:
        constrain: "off", "schema" (names of types) or "text" (also what stands for names).
        form: one of `FORMS`, unless it is off.
    """

    def grammar(question: Question, text: str) -> Grammar | None:
        if constrain == "off":
            return None
        return grammar_for(question, form, text=text if constrain == "text" else None)

    return grammar


def has_grammar(form: str) -> bool:
    """Tell whether a model can be held to a form."""
    return form in FORMS


def _names(text: str | None, *, is_lines: bool) -> list[str]:
    """Return the rules of a name, NAME, in the words of the form."""
    character = LINE_CHARACTER if is_lines else JSON_CHARACTER
    free = f"/{character}{{1,{LONGEST_NAME}}}/"
    if not text or not text.strip():
        return [f"NAME: {free} & {NOT_BLANK}" if is_lines else f"NAME: {free}"]
    chunks = [_line_chunk(c) if is_lines else _string(c)[1:-1] for c in text]
    rule = json.dumps({"substring_chunks": chunks})
    return [f"NAME: PART & {NOT_BLANK}", f"PART: %regex {rule}"]


def _line_chunk(character: str) -> str:
    """Return a character as it stands inside of a name in a line."""
    if character == "\n":
        return ESCAPE + "n"
    return ESCAPE + character if character in MARKS else character


def _string(text: str) -> str:
    """Return a text as a JSON string."""
    return json.dumps(text, ensure_ascii=False)


def _literal(text: str) -> str:
    """Return a text that stands in the answer as it is, as a Lark string."""
    return json.dumps(text)


def _list(item: str, between: str, *, at_least: int = 1) -> str:
    """Return items with something between them; from none where at_least is 0."""
    many = f"{item} ({_literal(between)} {item}){{0,{MAX_ITEMS - 1}}}"
    return many if at_least else f"({many})?"


def _alternatives(rules: Iterable[str]) -> str:
    return " | ".join(rules)


def _lines(schema: Schema) -> list[str]:
    """Return the rules of lines, all of them terminals.

    The lexer looks one byte ahead, and Chinese marks begin as other characters do: where a name
    ends can only be told inside of one terminal.
    """
    marks = marks_of(schema)
    rules, lines = [f"PAIR: NAME {_literal(marks.part)} NAME"], []
    for name in dict.fromkeys([*schema.entities, *schema.attributes]):
        lines.append(f"{_literal(escape(name) + marks.type)} {_list('NAME', marks.item)}")
    for name in schema.pairs:
        lines.append(f"{_literal(escape(name) + marks.type)} {_list('PAIR', marks.item)}")
    if schema.is_open:
        open_line = f"(NAME {_literal(marks.type)} {_list('PAIR', marks.item)})"
        lines.append(_list(open_line, "\n"))
    events = []
    for number, (name, event) in enumerate(schema.events.items()):
        role = _one_of(escape(role) for role in event.roles)
        argument = f"(({role}) {_literal(ROLE_MARK)} NAME)"
        parts = f"({_literal(marks.part)} {argument}){{0,{MAX_ITEMS}}}" if event.roles else ""
        rules.append(f"EVENT{number}: {'NAME' if event.trigger else argument} {parts}")
        items = _list(f"EVENT{number}", marks.item)
        events.append(f"{_literal(escape(name) + marks.type)} {items}")
    if events:
        rules.append(f"EVENTS: {_alternatives(events)}")
        lines.append(_list("EVENTS", "\n"))
    return [f"start: ANSWER\nANSWER: {BLANK} ({_literal(NOTHING)} | LINES)", *_some(lines), *rules]


def _some(lines: Sequence[str]) -> list[str]:
    """Return the rules of some of these lines, at least one, in their order.

    REST2 is what may follow line 1: line 2 or not, and then REST3.
    """
    rules, first = [], []
    for number, line in enumerate(lines):
        rest = f"REST{number + 1}" if number + 1 < len(lines) else ""
        rules.append(f"LINE{number}: {line}")
        first.append(f"LINE{number} {rest}")
        if number:
            rules.append(f"REST{number}: ({_literal(chr(10))} LINE{number})? {rest}")
    return [f"LINES: {_alternatives(first)}", *rules]


def _one_of(names: Iterable[str]) -> str:
    return _alternatives(_literal(name) for name in names)


# Many tokenizers begin a text with a blank, which is no part of it: a model that may not write that
# token is driven to others that it would never choose.
BLANK = '" "?'
STRING = " ".join((_literal('"'), "NAME", _literal('"')))
OPEN, CLOSE, COMMA = _literal("{"), _literal("}"), _literal(", ")


def _row(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _any(rules: Iterable[str]) -> str:
    return f"({_alternatives(rules)})"


def _key(name: str, *, is_first: bool = False) -> str:
    """Return the key of a member with all that stands around it."""
    return _literal(("{" if is_first else ", ") + _string(name) + ": ")


def _json(schema: Schema, *, has_spans: bool) -> list[str]:
    rules, parts = [f"string: {STRING}"], []
    entities = dict.fromkeys([*schema.entities, *schema.attributes])
    if entities:
        span = _row("(", _literal(', "span": ['), "INT", COMMA, "INT", _literal("]"), ")?")
        opening, text = _key("type", is_first=True), _key("text")
        entity = _row(opening, _strings(entities), text, "string", span if has_spans else "", CLOSE)
        rules += [f"entity: {entity}", "INT: /0|[1-9][0-9]{0,6}/"]
        parts.append(("entities", "entity"))
    if schema.pairs or schema.is_open:
        types = [_strings(schema.pairs)] if schema.pairs else []
        type_ = _any([*types, "string"] if schema.is_open else types)
        ends = _row(_key("head"), "string", _key("tail"), "string", CLOSE)
        rules.append(f"relation: {_row(_key('type', is_first=True), type_, ends)}")
        parts.append(("relations", "relation"))
    if schema.events:
        rules += _json_events(schema)
        parts.append(("events", "event"))
    lists = [(name, _array(item)) for name, item in parts]
    return [f"start: {BLANK} {_object(lists)}", *rules]


def _json_events(schema: Schema) -> list[str]:
    rules, kinds = [], []
    for number, (name, event) in enumerate(schema.events.items()):
        arguments = ""
        if event.roles:
            role = _row(_key("role", is_first=True), _strings(event.roles))
            rules.append(f"argument{number}: {_row(role, _key('text'), 'string', CLOSE)}")
            arguments = _list(f"argument{number}", ", ", at_least=int(not event.trigger))
        type_ = _row(_key("type", is_first=True), _literal(_string(name)))
        trigger = _row(_key("trigger"), "string") if event.trigger else ""
        array = _row(_literal("["), arguments, _literal("]"))
        kinds.append(_row(type_, trigger, _key("arguments"), array, CLOSE))
    return [*rules, f"event: {_alternatives(kinds)}"]


def _strings(names: Iterable[str]) -> str:
    return _any(_literal(_string(name)) for name in names)


def _iepile(question: Question) -> list[str]:
    """Return the rules: an object with every type of the question as a key, in their order."""
    task, schema = question.task, question.schema
    rules = [f"string: {STRING}", f"strings: {_array('string')}", "value: string | strings"]
    if task == "NER":
        members = [(name, "strings") for name in schema.entities]
    elif task == "EET":
        members = [(name, "strings") for name in schema.events]
    elif task in ("RE", "SPO"):
        # IEPile's rows of RE have head and tail, its evaluation and OneKE's examples the others.
        ends = [("head", "tail")] if task == "RE" else []
        pairs = [_object([(h, "string"), (t, "string")]) for h, t in [*ends, ("subject", "object")]]
        rules.append(f"pair: {_alternatives(pairs)}")
        members = [(name, _array("pair")) for name in schema.relations]
    elif task == "KG":
        members = [(name, _entities(own)) for name, own in schema.attributes.items()]
    else:
        members = []
        for number, (name, event) in enumerate(schema.events.items()):
            rules.append(f"event{number}: {_iepile_event(event.roles, has_trigger=event.trigger)}")
            members.append((name, _array(f"event{number}")))
    return [f"start: {BLANK} {_object(members)}", *rules]


def _array(item: str) -> str:
    return _row(_literal("["), _list(item, ", ", at_least=0), _literal("]"))


def _object(members: Sequence[tuple[str, str]]) -> str:
    """Return an object with all of these keys, each followed by what its rule says."""
    pairs = [
        _row(_key(name, is_first=not number), rule) for number, (name, rule) in enumerate(members)
    ]
    return _row(*pairs, CLOSE)


def _iepile_event(roles: Sequence[str], *, has_trigger: bool) -> str:
    value = _any([_literal('"NAN"'), "value"])
    full = _object([(role, value) for role in roles])
    if not has_trigger:
        return _object([("arguments", full)])
    arguments = _any([_literal("{}"), full] if roles else [_literal("{}")])
    return _object([("trigger", "string"), ("arguments", arguments)])


def _entities(own: Sequence[str]) -> str:
    """Return an object of entities with those of the attributes that are there."""
    member = _row("(", _strings(own) if own else "string", _literal(": "), "value", ")")
    attributes = _row(OPEN, _list(member, ", ", at_least=0), CLOSE)
    entity = _row("(", "string", _literal(": "), attributes, ")")
    return _row(OPEN, _list(entity, ", ", at_least=0), CLOSE)
