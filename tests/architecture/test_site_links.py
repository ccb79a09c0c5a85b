"""The checker of links in the built book finds what is dead, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKER = Path(__file__).resolve().parents[2] / "docs" / "links.py"
INDEX = """<a href="#here" id="here">here</a> <a href="more/page.html#%E5%AD%97">there</a>
<a href="more">a folder</a> <img src="/pictures/a%20b.png"> <a href="https://example.org/x">away</a>
<a href="mailto:a@example.org">mail</a> <a href="data:text/plain,x">data</a>"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a b.png").write_bytes(b"")
    (tmp_path / "index.html").write_text(INDEX, encoding="utf-8")
    (tmp_path / "more" / "page.html").write_text('<h2 id="字">字</h2>', encoding="utf-8")
    (tmp_path / "more" / "index.html").write_text('<a href="../index.html#here">x</a>')
    return tmp_path


def check(folder):
    done = subprocess.run([sys.executable, CHECKER, folder], capture_output=True, text=True)
    return done.returncode, done.stderr.splitlines()


def test_living_links_pass(site):
    assert check(site) == (0, [])


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("gone.html", "no such file"),
        ("more/page.html#gone", "page.html has no such anchor"),
        ("#gone", "index.html has no such anchor"),
        ("/pictures/gone.png", "no such file"),
        ("pictures", "no such file"),
        ("../index.html", "no such file"),
    ],
)
def test_a_dead_link_is_named(site, link, reason):
    page = site / "index.html"
    page.write_text(f'{INDEX}<a href="{link}">x</a>', encoding="utf-8")
    assert check(site) == (1, [f"index.html: {link}: {reason}"])


def test_a_site_without_pages_is_no_success(tmp_path):
    assert check(tmp_path) == (1, [f"{tmp_path} holds no page"])
