"""How does a model plan for names that it never saw? It is shown numbers in their place.

    hidden, names = hide("Who wrote Tides?", ["Tides"])      # "Who wrote #1?", ("Tides",)
    restore("... find_entity_or_value(['#1'], ['author'])", names)   # ... ['Tides'] ...

A small model learns which relations a question asks for long before it learns to copy a name. Here
it never meets one: those of the question are known from the graph, and put back by rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from hanlin.core.records import Grammar
from hanlin.extraction.knowledge.plan import refused

ORDINALS = ("first", "second", "third", "fourth")  # look-ups of a plan under the grammar
FREE = r"/'[^'\\\n]{1,80}'/"  # a relation, where those of the graph are not known
_SLOT = re.compile(r"(['\"])#([0-9]+)\1")


def hide(question: str, names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Put #1, #2, ... where names stand in a question; return it with the names by number.

    A name that stands there twice has one number; a part of a longer one has none of its own.
    """
    if not names:
        return question, ()
    longest_first = sorted(set(names), key=lambda name: (-len(name), name))
    found: dict[str, int] = {}
    pattern = "|".join(map(re.escape, longest_first))
    hidden = re.sub(pattern, lambda m: f"#{found.setdefault(m[0], len(found) + 1)}", question)
    return hidden, tuple(found)


def restore(code: str, names: Sequence[str]) -> str:
    """Put the names back into a plan.

    Raises:
        PlanRefusedError: it has a number that belongs to no name.
    """

    def name(match: re.Match[str]) -> str:
        number = int(match[2])
        if not 1 <= number <= len(names):
            raise refused(f"the name #{number}", f"the question has {len(names)} names")
        return repr(names[number - 1])

    return _SLOT.sub(name, code)


def plan_grammar(names: Iterable[str], relations: Iterable[str]) -> Grammar:
    """Return the grammar of look-ups one after the other, as `planning.write_plan` writes them.

    Args:
        names: that a plan may begin at: those of the question, or their numbers.
        relations: that it may follow; none: any words.
    """
    lines = [
        "start: BLANK step0",
        'BLANK: " "?',
        f"relation: {_one_of(map(repr, relations)) or FREE}",
        f"name: {_one_of(map(repr, names))}",
    ]
    for number, ordinal in enumerate(ORDINALS):
        call, end = _text(f"{ordinal}, msg = find_entity_or_value("), _text("])\n")
        source = f"{_text('[')} name {_text(']')}" if not number else _text(ORDINALS[number - 1])
        more = [f"step{number + 1}"] if number + 1 < len(ORDINALS) else []
        then = " | ".join([*more, _text(f"return {ordinal}")])
        lines.append(f"step{number}: {call} {source} {_text(', [')} relation {end} ({then})")
    return Grammar("lark", "\n".join(lines) + "\n")


def _text(literal: str) -> str:
    return json.dumps(literal)


def _one_of(texts: Iterable[str]) -> str:
    return " | ".join(map(_text, texts))
