"""Which blocks of code does a page of the book have, and what does the page say of each?

Right above a block may stand a remark, in an HTML comment that readers do not see:

    <!-- not run: why it cannot run here -->
    <!-- not compared: why this output is no output of the tests -->
    <!-- compared to the letter -->: numbers too, which may be others without it
    <!-- config of STAGE -->, <!-- a recipe -->, <!-- a schema -->, <!-- a plan -->: how it is read
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_OF_THE_BOOK = {
    "cli.md": "written from code, docs/generate.py --check",
    "config.md": "written from code, docs/generate.py --check",
    "prompts.md": "written from code, docs/generate.py --check",
    "architecture.md": "for contributors: drawings and the tree",
    "log.md": "for contributors: what was tried",
}
FENCE = re.compile(r"^( *)```(\S*)(.*)$")
REMARKS = ("not run", "not compared", "compared to the letter", "config of", "a recipe", "a schema",
           "a plan")  # fmt: skip
REMARK = re.compile(rf"^ *<!-- ({'|'.join(REMARKS)})(.*) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        place: page and line of the fence.
        language: the word behind the fence.
        text: what it holds.
        remark: how the comment above it begins, as in the list above, or "".
        detail: the reason, or the name of the stage.
    """

    place: str
    language: str
    text: str
    remark: str = ""
    detail: str = ""


def book_pages() -> list[Path]:
    """Return the English pages whose blocks are run, and the Chinese README."""
    pages = [page for page in sorted(ROOT.glob("docs/*.md")) if not page.name.endswith(".zh.md")]
    pages = [page for page in pages if page.name not in NOT_OF_THE_BOOK]
    return [ROOT / "README.md", *pages]


def translations() -> list[tuple[Path, Path]]:
    """Return the Chinese pages, each with its English one."""
    pages = [(page, page.with_name(page.name.replace(".zh.md", ".md")))
             for page in sorted(ROOT.glob("docs/*.zh.md"))]  # fmt: skip
    return [(ROOT / "README.zh-CN.md", ROOT / "README.md"), *pages]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    blocks: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not (fence := FENCE.match(line)):
            continue
        if start is None:
            start = number
            continue
        opening = FENCE.match(lines[start])
        indent = len(opening[1])
        text = "\n".join(held[indent:] for held in lines[start + 1 : number])
        remark = REMARK.match(lines[start - 1]) if start else None
        blocks.append(Block(f"{page.relative_to(ROOT)}:{start + 1}", opening[2], text,
                            *((remark[1], remark[2].strip(" :")) if remark else ())))  # fmt: skip
        assert not fence[2], f"{page.name}:{number + 1}: a fence that opens inside another"
        start = None
    assert start is None, f"{page.name}:{start + 1}: the fence is never closed"
    return blocks


def indented_code(page: Path) -> list[int]:
    """Return the lines at which code begins that is indented and has no fence."""
    found, is_fenced, before, in_list = [], False, "", False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            is_fenced = not is_fenced
        elif not is_fenced:
            if line.strip() and not line.startswith(" "):
                in_list = bool(re.match(r"[-*] |\d+\. ", line))
            if line.startswith("    ") and not before.strip() and not in_list:
                found.append(number)
        before = line
    return found


def essence(block: Block) -> list[str]:
    """Return what must be the same in every language: the lines without comments and blank ends."""
    kept = block.text.splitlines()
    if block.language != "text":
        kept = [re.sub(r"(^|\s+)#( .*)?$", "", line) for line in kept]
    return [line.rstrip() for line in kept if line.strip()]
