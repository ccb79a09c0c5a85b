"""Which look-ups does a plan make? The little language of CuteGPT's planning examples, read safely.

    def search():
        messages = ''
        author, msg = find_entity_or_value(entity_aliases=['三体'], relation_aliases=['作者'])
        messages += msg
        if author:
            town, msg = find_entity_or_value(entity_aliases=author, relation_aliases=['出生地'])
        return messages

It looks like Python and is never run as Python: its syntax tree is checked against a list of what
is allowed, before anything happens, and then walked by the interpreter in `plan_run`, with a limit
on steps and on the size of every value. No attributes, imports, `while` or other calls.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from hanlin.core.errors import InputError

MAX_CHARACTERS = 4000  # of a plan
MAX_NODES = 1000  # of its syntax tree
FUNCTIONS = {
    "get_entity_info": ("entity_aliases",),
    "find_entity_or_value": ("entity_aliases", "relation_aliases"),
    "find_relationship": ("entity1_aliases", "entity2_aliases"),
}
BUILT_IN: Mapping[str, Callable[[Any], Any]] = {
    "len": len, "str": str, "list": list, "sorted": sorted, "bool": bool,
}  # fmt: skip
STATEMENTS = (ast.Assign, ast.AugAssign, ast.If, ast.For, ast.Return, ast.Expr, ast.Pass)
EXPRESSIONS = (
    ast.Call, ast.Constant, ast.List, ast.Tuple, ast.Name, ast.BoolOp, ast.UnaryOp, ast.Compare,
    ast.BinOp, ast.Subscript, ast.JoinedStr, ast.FormattedValue, ast.IfExp,
)  # fmt: skip
PARTS = (
    ast.keyword, ast.Load, ast.Store, ast.And, ast.Or, ast.Not, ast.Add, ast.Eq, ast.NotEq, ast.In,
    ast.NotIn, ast.Is, ast.IsNot, ast.Gt, ast.GtE, ast.Lt, ast.LtE,
)  # fmt: skip


class PlanRefusedError(InputError):
    """A plan holds something that is not allowed, or does too much."""


def parse_plan(code: str) -> list[ast.stmt]:
    """Return the statements of a plan, all of them allowed.

    Raises:
        PlanRefusedError: it is no plan of this language.
    """
    if len(code) > MAX_CHARACTERS:
        raise refused("a plan that long", f"{len(code)} characters, at most {MAX_CHARACTERS}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of odd escapes in a plan
            body = ast.parse(_indented(code)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise refused("what is no plan", f"{type(error).__name__}: {error}") from error
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef):
        body = _body_of(body[0])
    nodes = 0
    for statement in body:
        for node in ast.walk(statement):
            nodes += 1
            _check(node)
    if nodes > MAX_NODES:
        raise refused("a plan that long", f"{nodes} parts, at most {MAX_NODES}")
    return body


def _indented(code: str) -> str:
    """Mend the one thing that models often get wrong: a body that is not indented."""
    head, _, rest = code.strip().partition("\n")
    lines = rest.split("\n")
    if head.startswith("def ") and rest and not any(line[:1].isspace() for line in lines if line):
        return "\n".join(lines)
    return code.strip()


def _body_of(function: ast.FunctionDef) -> list[ast.stmt]:
    arguments = function.args
    given = (*arguments.args, *arguments.posonlyargs, *arguments.kwonlyargs, *arguments.defaults)
    if function.name != "search" or given or arguments.vararg or arguments.kwarg:
        why = "the one function is search(), without arguments"
        raise refused(f"a function {function.name!r}", why)
    if function.decorator_list or function.returns:
        raise refused("a decorator or annotation", "search() has none")
    return function.body


def _check(node: ast.AST) -> None:
    """Refuse one part of a syntax tree that is not on the list."""
    if not isinstance(node, STATEMENTS + EXPRESSIONS + PARTS):
        raise refused(_named(node), "it is not on the list of what a plan may hold")
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name):
            raise refused("a call of something without a name", "only named functions are called")
        if node.func.id not in (*FUNCTIONS, *BUILT_IN):
            raise refused(f"the function {node.func.id!r}", "a plan looks things up, nothing else")
        if any(keyword.arg is None for keyword in node.keywords):
            raise refused("**", "arguments are named one by one")
    if isinstance(node, ast.Name) and node.id.startswith("__"):
        raise refused(f"the name {node.id!r}", "names of Python's own are not there")
    if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | bool | None):
        raise refused(f"the value {node.value!r}", "values are texts and small numbers")
    if isinstance(node, ast.For) and node.orelse:
        raise refused("for ... else", "a loop has no else")
    if isinstance(node, ast.FormattedValue) and (node.format_spec or node.conversion != -1):
        raise refused("a format specification", "names are put into texts as they are")


def _named(node: ast.AST) -> str:
    names = {
        ast.Attribute: "an attribute", ast.Import: "an import", ast.ImportFrom: "an import",
        ast.While: "while, a loop that may have no end", ast.Lambda: "lambda",
        ast.FunctionDef: "a second function", ast.ClassDef: "a class",
        ast.ListComp: "a comprehension", ast.Starred: "*",
    }  # fmt: skip
    return names.get(type(node), type(node).__name__)


def refused(what: str, why: str) -> PlanRefusedError:
    """Return the error that says what a plan holds and may not."""
    allowed = ", ".join(FUNCTIONS)
    return PlanRefusedError(
        f"the plan was refused: it holds {what}",
        why=why,
        fix=f"write a plan of look-ups ({allowed}) with names, lists, if and for over a list",
    )
