"""Does each page of the book say in Chinese what it says in English: headings, tables, names?"""

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
ENGLISH_ALONE = {"cli.md", "config.md", "prompts.md", "architecture.md", "log.md"}
PAGES = [
    page
    for page in sorted(DOCS.glob("*.md"))
    if page.name not in ENGLISH_ALONE and not page.name.endswith(".zh.md")
]
BLOCK = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """Return a page without its blocks of code and remarks."""
    assert page.exists(), f"{page.name} is missing: the book is in English and in Chinese"
    return re.sub(r"<!--.*?-->", "", BLOCK.sub("", page.read_text(encoding="utf-8")))


def pair(page: Path) -> tuple[str, str]:
    """Return the prose of an English page and of its Chinese one."""
    return prose(page), prose(page.with_name(f"{page.stem}.zh.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_chinese_page_has_the_same_shape(page):
    english, chinese = pair(page)
    for what, pattern in {
        "headings": r"^(#+) ",
        "rows of tables": r"^(\|)(?!-|---| ---)",
        "pictures": r"!\[[^\]]*\]\(([^)]*)\)",
        "items of lists": r"^(-|\d+\.) ",
    }.items():
        found = [re.findall(pattern, text, re.MULTILINE) for text in (english, chinese)]
        assert found[0] == found[1], f"{page.name}: other {what} in Chinese"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_chinese_page_leaves_no_name_out(page):
    english, chinese = (
        {" ".join(name.split()) for name in re.findall(r"`([^`]+)`", text)} for text in pair(page)
    )
    assert english <= chinese, f"{page.stem}.zh.md lacks {sorted(english - chinese)}"
    assert chinese <= english, f"{page.name} lacks {sorted(chinese - english)}"


def test_chinese_lines_are_joined_in_the_book_but_not_in_code():
    written = runpy.run_path(str(DOCS / "book.py"))["on_page_markdown"]
    page = "中文，\n不加空格。\nEnglish\nstays.\n\n- 一\n- 二\n\n[数](../b/r.md)，\n完\n"
    shown = "中文，不加空格。\nEnglish\nstays.\n\n- 一\n- 二\n\n数 (`b/r.md`)，完\n"
    code = "\n```text\n白\n碧\n```\n"
    assert written(page + code + page) == shown + code + shown
