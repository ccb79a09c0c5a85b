"""The pages that are written from code are up to date; links inside the docs lead somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_generated_pages_are_up_to_date():
    command = [sys.executable, ROOT / "docs" / "generate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_links_between_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    assert len(pages) >= 8
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http", "mailto:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_starts_with_the_two_commands():
    for name in ("README.md", "README.zh-CN.md"):
        first_screen = (ROOT / name).read_text(encoding="utf-8")[:2000]
        assert "make quickstart" in first_screen and "make test" in first_screen


def test_the_book_builds_without_a_warning_or_a_dead_link_and_asks_nobody(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra docs)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    silent = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=silent)
    assert done.returncode == 0, done.stderr
    checker = [sys.executable, ROOT / "docs" / "links.py", tmp_path]
    done = subprocess.run(checker, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in ("index.html", "zh/index.html", "zh/troubleshooting.html"):
        html = (tmp_path / page).read_text(encoding="utf-8")
        assert "翰林" in html
        assert not re.search(
            r"""<(script|img|iframe)[^>]*src=.http|<link[^>]*stylesheet[^>]*http""", html
        )
    words = json.loads((tmp_path / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any("\u200b训练\u200b" in page["text"] for page in words["docs"])  # jieba's words
