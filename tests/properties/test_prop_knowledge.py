"""Mentions are what a slow search finds, and no plan ever runs anything but look-ups."""

import ast
import re
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hanlin.extraction.knowledge.compose import passages
from hanlin.extraction.knowledge.lookups import Found
from hanlin.extraction.knowledge.mentions import MentionFinder
from hanlin.extraction.knowledge.plan import FUNCTIONS, PlanRefusedError
from hanlin.extraction.knowledge.plan_run import run_plan
from hanlin.extraction.knowledge.planning import code_of

pytest.importorskip("ahocorasick_rs")

letters = st.text(st.sampled_from("ab A中文北é1,.🙂-_"), min_size=1, max_size=5)
aliases = st.lists(letters.map(str.strip).filter(bool), min_size=1, max_size=8, unique=True)


def is_spaced(character: str) -> bool:
    return character < "\u2e80" and character.isalnum()


def slowly(names: list[str], text: str) -> list[tuple[int, int]]:
    """At each place the longest name that no word goes on beyond; then behind it."""
    found, at = [], 0
    while at < len(text):
        ends = [
            at + len(name) for name in names
            if text.startswith(name, at)
            and not (at and is_spaced(name[0]) and is_spaced(text[at - 1]))
            and not (is_spaced(name[-1]) and is_spaced(text[at + len(name) :][:1] or " "))
        ]  # fmt: skip
        if ends:
            found.append((at, max(ends)))
        at = max(ends, default=at + 1)
    return found


def is_part_of_number(text: str, start: int, end: int) -> bool:
    whole = re.compile(r"\d[.,]$")
    return bool(
        (text[start].isdigit() and whole.search(text[max(0, start - 2) : start]))
        or (text[end - 1].isdigit() and re.match(r"[.,]\d", text[end : end + 2]))
    )


@settings(deadline=None)
@given(aliases, st.lists(st.text(st.sampled_from("ab A中文北é1,.🙂-_"), max_size=30), max_size=3))
def test_mentions_are_those_of_a_slow_search(names, texts):
    found = MentionFinder(names).find(texts)
    for text, hits in zip(texts, found, strict=True):
        wanted = [p for p in slowly(names, text) if not is_part_of_number(text, *p)]
        assert [(start, end) for _, start, end in hits] == wanted
        assert all(names[alias] == text[start:end] for alias, start, end in hits)


@given(st.text(max_size=300), st.integers(1, 60))
def test_passages_are_the_text(text, longest):
    parts = list(passages(text, longest))
    assert all(text[start : start + len(part)] == part for start, part in parts)
    assert "".join(part for _, part in parts).strip() == text.strip()


class Canary:
    """A graph that counts its look-ups and knows nothing."""

    def __init__(self) -> None:
        self.asked = 0

    def look_up(self, *aliases: object) -> Found:
        self.asked += 1
        assert all(isinstance(name, str) for names in aliases for name in names)
        return Found(("甲", "乙"), "两个", ids=("1", "2"))

    get_entity_info = find_entity_or_value = find_relationship = look_up


WORDS = [
    "import",
    "os",
    "eval",
    "exec",
    "open",
    "print",
    "__import__",
    "getattr",
    "globals",
    "search",
    "def",
    "return",
    "while",
    "for",
    "in",
    "if",
    "else",
    "lambda",
    "class",
    "messages",
    "msg",
    "a",
    "b",
    "find_entity_or_value",
    "get_entity_info",
    "find_relationship",
    "len",
    "str",
    "list",
    "sorted",
    "bool",
    "True",
    "None",
    "not",
    "and",
    "or",
    "is",
]
marks = st.sampled_from([*list("()[]{},.:=+-*'\"\n\t @#0123"), "\n    ", "['三体']", "== ", " = "])
plans = st.lists(st.one_of(st.sampled_from(WORDS), marks), max_size=40).map(" ".join)
seen: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and arguments[0] == "<unknown>":
        return  # how Python looks for the line of a syntax error
    if seen and event in ("exec", "import", "open", "os.system", "subprocess.Popen"):
        seen.append(event)


sys.addaudithook(watch)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(plans, st.text(max_size=200)))
@example("__import__('os').system('true')")
@example("find_entity_or_value.__globals__")
@example("a, m = find_entity_or_value(['x'], ['y'])\nfor b in a:\n    get_entity_info(b)")
def test_a_plan_runs_nothing_but_look_ups(plan):
    graph = Canary()
    code = code_of(plan)
    seen.append("")
    try:
        run_plan(code, graph)
    except PlanRefusedError as error:
        assert error.why and error.fix
    else:
        names = {n.func.id for n in ast.walk(ast.parse(code.strip())) if isinstance(n, ast.Call)}
        assert names <= {*FUNCTIONS, "len", "str", "list", "sorted", "bool"}
    finally:
        events, seen[:] = seen[1:], []
    assert not events
