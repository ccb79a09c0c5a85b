"""What does a plan come to? Its look-ups are made, one after the other, within limits."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hanlin.extraction.knowledge.lookups import Found, Ids, LookUps, Triple, fold
from hanlin.extraction.knowledge.plan import BUILT_IN, FUNCTIONS, parse_plan, refused

MAX_STEPS = 2000  # statements and expressions that are worked on
MAX_LOOK_UPS = 200
MAX_DEPTH = 50  # of expressions inside of expressions
MAX_SIZE = 20_000  # characters of a text, or of all the texts in a list; and the largest number
COMPARE: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Eq: lambda a, b: a == b, ast.NotEq: lambda a, b: a != b, ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b, ast.Is: lambda a, b: a is b,
    ast.IsNot: lambda a, b: a is not b, ast.Gt: lambda a, b: a > b, ast.GtE: lambda a, b: a >= b,
    ast.Lt: lambda a, b: a < b, ast.LtE: lambda a, b: a <= b,
}  # fmt: skip


class Names(list[str]):
    """Names that a look-up gave, with the ids behind them: the next look-up goes on from those."""

    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a plan came to.

    Attributes:
        answer: of the last look-up that found something, or what the plan returned.
        messages: what each look-up said.
        triples: the facts behind the look-ups, each once.
    """

    answer: tuple[str, ...]
    messages: tuple[str, ...]
    triples: tuple[Triple, ...]


def run_plan(code: str, graph: LookUps, *, names: Sequence[str] = ()) -> Outcome:
    """Parse a plan and make its look-ups.

    Args:
        code: the plan.
        graph: where to look.
        names: entities that the question names. A look-up of none of them, in any spelling, takes
            them in its place, and says so: small models copy names badly.

    Raises:
        PlanRefusedError: something in it is not allowed, or it does more than the limits.
    """
    run = _Run(graph, tuple(names))
    try:
        returned = run.block(parse_plan(code))
    except RecursionError as error:
        raise refused("what is nested that deep", "expressions are short") from error
    answer = run.answer
    if isinstance(returned, list) and returned:
        answer = [_text(item) for item in returned]
    return Outcome(tuple(answer), tuple(run.messages), tuple(dict.fromkeys(run.triples)))


_NOTHING = object()


@dataclass
class _Run:
    """Walks a plan that was checked."""

    graph: LookUps
    names: tuple[str, ...] = ()
    variables: dict[str, Any] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    triples: list[Triple] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    steps: int = 0
    depth: int = 0

    def block(self, statements: list[ast.stmt]) -> object:
        """Work on statements; return what the plan returned, or `_NOTHING`."""
        for statement in statements:
            returned = self._statement(statement)
            if returned is not _NOTHING:
                return returned
        return _NOTHING

    def _statement(self, node: ast.stmt) -> object:
        self._step()
        if isinstance(node, ast.Assign):
            value = self.value(node.value)
            for target in node.targets:
                self._assign(target, value)
        elif isinstance(node, ast.AugAssign):
            old = self.value(_loaded(node.target))
            self._assign(node.target, self._sum(old, self.value(node.value)))
        elif isinstance(node, ast.If):
            return self.block(node.body if self.value(node.test) else node.orelse)
        elif isinstance(node, ast.For):
            return self._loop(node)
        elif isinstance(node, ast.Return):
            return self.value(node.value) if node.value else None
        elif isinstance(node, ast.Expr):
            self.value(node.value)
        return _NOTHING

    def _loop(self, node: ast.For) -> object:
        items = self.value(node.iter)
        if not isinstance(items, list | tuple):
            raise refused("a loop over what is no list", f"it is {type(items).__name__}")
        for item in list(items):
            self._assign(node.target, item)
            returned = self.block(node.body)
            if returned is not _NOTHING:
                return returned
        return _NOTHING

    def _assign(self, target: ast.expr, value: Any) -> None:  # noqa: ANN401 - any value of a plan
        if isinstance(target, ast.Name):
            self.variables[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            values = list(value) if isinstance(value, list | tuple) else []
            if len(values) != len(target.elts):
                raise refused("names for another number of values", f"{len(values)} are there")
            for one, item in zip(target.elts, values, strict=True):
                self._assign(one, item)
        else:
            raise refused("an assignment to something without a name", "only names are assigned")

    def value(self, node: ast.expr) -> Any:  # noqa: ANN401 - any value of a plan
        """Return what an expression is worth."""
        self._step()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise refused("what is nested that deep", f"at most {MAX_DEPTH} levels")
        try:
            return self._sized(getattr(self, f"_{type(node).__name__}")(node))
        except (TypeError, IndexError, KeyError) as error:
            raise refused("something that has no value", f"{error}") from error
        finally:
            self.depth -= 1

    def _Constant(self, node: ast.Constant) -> object:  # noqa: N802 - named after the node
        return node.value

    def _Name(self, node: ast.Name) -> object:  # noqa: N802
        if node.id not in self.variables:
            raise refused(f"the name {node.id!r}", "nothing was assigned to it")
        return self.variables[node.id]

    def _List(self, node: ast.List | ast.Tuple) -> list[Any]:  # noqa: N802
        return [self.value(item) for item in node.elts]

    _Tuple = _List

    def _BoolOp(self, node: ast.BoolOp) -> object:  # noqa: N802
        is_and, value = isinstance(node.op, ast.And), None
        for part in node.values:
            value = self.value(part)
            if bool(value) is not is_and:
                break
        return value

    def _UnaryOp(self, node: ast.UnaryOp) -> object:  # noqa: N802
        return not self.value(node.operand)

    def _IfExp(self, node: ast.IfExp) -> object:  # noqa: N802
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _Compare(self, node: ast.Compare) -> bool:  # noqa: N802
        left = self.value(node.left)
        for operator, other in zip(node.ops, node.comparators, strict=True):
            right = self.value(other)
            if not COMPARE[type(operator)](left, right):
                return False
            left = right
        return True

    def _BinOp(self, node: ast.BinOp) -> object:  # noqa: N802
        return self._sum(self.value(node.left), self.value(node.right))

    def _sum(self, first: Any, second: Any) -> object:  # noqa: ANN401 - any value of a plan
        if isinstance(first, str) != isinstance(second, str):
            first, second = (_text(one) for one in (first, second))
        return self._sized(first + second)

    def _Subscript(self, node: ast.Subscript) -> object:  # noqa: N802
        value, at = self.value(node.value), self.value(node.slice)
        if not isinstance(value, list | str) or not isinstance(at, int):
            raise refused("a part of what is no list", "parts are taken by number")
        return value[at]

    def _JoinedStr(self, node: ast.JoinedStr) -> str:  # noqa: N802
        return "".join(_text(self.value(part)) for part in node.values)

    def _FormattedValue(self, node: ast.FormattedValue) -> object:  # noqa: N802
        return self.value(node.value)

    def _Call(self, node: ast.Call) -> object:  # noqa: N802
        assert isinstance(node.func, ast.Name)  # `_check` saw to it
        given = [self.value(argument) for argument in node.args]
        named = {str(keyword.arg): self.value(keyword.value) for keyword in node.keywords}
        if node.func.id in BUILT_IN:
            if len(given) != 1 or named:
                raise refused(f"{node.func.id} with other than one argument", "it takes one")
            return BUILT_IN[node.func.id](given[0])
        return self._look_up(node.func.id, given, named)

    def _look_up(self, name: str, given: list[Any], named: dict[str, Any]) -> list[Any]:
        parameters = FUNCTIONS[name]
        values = dict(zip(parameters, given, strict=False)) | named
        if len(given) > len(parameters) or set(values) != set(parameters):
            raise refused(f"{name} with other arguments", f"it takes {', '.join(parameters)}")
        if len(self.messages) >= MAX_LOOK_UPS:
            raise refused("more look-ups than are allowed", f"at most {MAX_LOOK_UPS}")
        aliases = [
            _aliases(value) if parameter == "relation_aliases" else self._meant(_aliases(value))
            for parameter, value in ((parameter, values[parameter]) for parameter in parameters)
        ]
        found: Found = getattr(self.graph, name)(*aliases)
        message = found.message[: MAX_SIZE // 4]
        self.messages.append(message)
        self.triples += found.triples
        names = Names(found.result)
        names.ids = found.ids
        if names:
            self.answer = list(names)
        return [names, message]

    def _meant(self, aliases: Sequence[str]) -> Sequence[str]:
        """Return the aliases, or what the question names where they are something else."""
        known = [fold(name) for name in self.names]
        if isinstance(aliases, Ids) or not known or any(fold(alias) in known for alias in aliases):
            return aliases
        if any(fold(alias) in map(fold, self.answer) for alias in aliases):
            return aliases  # found by an earlier look-up
        self.messages.append(f"{', '.join(aliases)} is not in the question: {known[0]} is meant")
        return known[:1]

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise refused("more steps than are allowed", f"at most {MAX_STEPS}")

    def _sized(self, value: Any) -> Any:  # noqa: ANN401 - any value of a plan
        if _size(value, MAX_SIZE) > MAX_SIZE:
            raise refused("a value that gets too large", f"at most {MAX_SIZE} characters, or that")
        return value


def _size(value: Any, limit: int) -> int:  # noqa: ANN401 - any value of a plan
    """Return the size of a value, or of so much of it that the limit is passed."""
    if isinstance(value, list):
        size = 1
        for item in value:
            size += _size(item, limit - size)
            if size > limit:
                break
        return size
    return len(value) + 1 if isinstance(value, str) else abs(value) if isinstance(value, int) else 1


def _loaded(target: ast.expr) -> ast.expr:
    if not isinstance(target, ast.Name):
        raise refused("an assignment to something without a name", "only names are assigned")
    return target


def _aliases(value: Any) -> Sequence[str]:  # noqa: ANN401 - any value of a plan
    """Return the aliases of an argument; what an earlier look-up gave is known by its ids."""
    if isinstance(value, Names) and value.ids:
        return Ids(value.ids)
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refused("aliases that are no names", "they are a list of texts")
    return names


def _text(value: Any) -> str:  # noqa: ANN401 - any value of a plan
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
