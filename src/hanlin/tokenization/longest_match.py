"""How do pieces of one score cut a text, and how is the same said to `tokenizers`?

SentencePiece merges the best pair first and, of pairs with one score, the leftmost. Where many
pieces share the highest score it therefore goes through the text from the left and takes the
longest piece it can form there: a merged piece only looks to its right, so what it passes through
on its way depends on its own characters alone. Such cuts need nearly as few tokens as can be.
A list of merges, as `tokenizer.json` has it, knows no equal ranks. But a pattern that cuts the
text into the longest pieces first says exactly this.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

FEW = 4  # alternatives that are tried one by one; more are halved by a look at the next character

Trie = dict[str, "Trie"]
END = ""  # the key that says: a piece ends here
SYNTAX, CLASS_SYNTAX = r"\^$.|?*+()[]{}/", r"\^-[]"


def formed(pieces: Collection[str]) -> set[str]:
    """Return those of several pieces with one score that leftmost merging forms from characters."""
    equal = set(pieces)
    found: set[str] = set()
    for piece in sorted((p for p in equal if len(p) > 1), key=len):
        if way_to(piece, equal, found) is not None:
            found.add(piece)
    return found


def way_to(
    piece: str, equal: Collection[str], formed: Collection[str]
) -> list[tuple[str, str]] | None:
    """Return the merges that lead to a piece in order, None where they lead elsewhere.

    Args:
        piece: the text, taken for one of the pieces even if it is none.
        equal: the pieces with one score.
        formed: those of them, shorter than this one, that are formed themselves.
    """
    merges: list[tuple[str, str]] = []
    made = piece[0]
    while made != piece:
        rest = piece[len(made) :]
        right = next(
            (p for p in beginnings(rest, formed) if made + p in equal or made + p == piece), None
        )
        if right is None:
            return None
        if len(right) > 1:
            merges += way_to(right, equal, formed) or []  # it is one of those that are formed
        merges.append((made, right))
        made += right
    return merges


def beginnings(text: str, formed: Collection[str]) -> Iterator[str]:
    """Yield what is formed at the start of a text, one after the other."""
    yield text[0]
    yield from (text[:end] for end in range(2, len(text) + 1) if text[:end] in formed)


def longest_matches(text: str, formed: Collection[str], *, longest: int) -> Iterator[str]:
    """Yield the parts that formed pieces cut a text into; the longest has `longest` characters."""
    start = 0
    while start < len(text):
        ends = range(min(longest, len(text) - start), 1, -1)
        length = next((n for n in ends if text[start : start + n] in formed), 1)
        yield text[start : start + length]
        start += length


def pattern(pieces: Iterable[str]) -> str:
    """Return a regular expression that matches the longest of several pieces.

    The pieces are a tree of characters; where many branches leave a node, looks at the next
    character halve them, so that a match takes microseconds and not a try for every piece.
    """
    root: Trie = {}
    for piece in sorted(pieces):
        node = root
        for character in piece:
            node = node.setdefault(character, {})
        node[END] = {}
    return _expression(root)


def _expression(node: Trie) -> str:
    leaves = [c for c, child in node.items() if child.keys() == {END}]
    branches = [
        (c, _escaped(c, SYNTAX) + _expression(child))
        for c, child in node.items()
        if c != END and child.keys() != {END}
    ]
    choices = ([_halved(branches)] if branches else []) + ([_one_of(leaves)] if leaves else [])
    expression = "|".join(choices)
    if END in node:
        return f"(?:{expression})?" if choices else ""
    return f"(?:{expression})" if branches and len(node) > 1 else expression


def _one_of(characters: list[str]) -> str:
    inside = "".join(_escaped(c, CLASS_SYNTAX) for c in characters)
    return f"[{inside}]" if len(characters) > 1 else _escaped(characters[0], SYNTAX)


def _halved(branches: list[tuple[str, str]]) -> str:
    if len(branches) <= FEW:
        return "|".join(expression for _, expression in branches)
    middle = len(branches) // 2
    first, last = (_escaped(branches[i][0], CLASS_SYNTAX) for i in (0, middle - 1))
    left, right = _halved(branches[:middle]), _halved(branches[middle:])
    return f"(?=[{first}-{last}])(?:{left})|(?:{right})"


def _escaped(character: str, syntax: str) -> str:
    return f"\\{character}" if character in syntax else character
