"""Every block of code in the book is run, read, or says why not (tests/book_session.py).

Notebooks are run as well, with the tiny base that they make.
"""

import re
import shutil

import pytest

from book_blocks import ROOT, blocks_of, book_pages, indented_code
from book_session import SECONDS, Commands, Session
from book_world import make_world

pytestmark = pytest.mark.slow
PAGES = [page for page in book_pages() if blocks_of(page)]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
MOST_NOT_RUN = 16


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """The `hanlin` of these tests."""
    made = Commands(tmp_path_factory.mktemp("commands"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def world(commands, tmp_path_factory):
    """The folder that each page gets a copy of."""
    return make_world(commands, tmp_path_factory.mktemp("book") / "world")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_work(page, commands, world, tmp_path):
    folder = tmp_path / "page"
    shutil.copytree(world, folder)
    session = Session(commands, folder)
    try:
        for block in blocks_of(page):
            session.run(block)
    finally:
        session.close()


def test_few_blocks_are_not_run():
    blocks = [block for page in PAGES for block in blocks_of(page)]
    runnable = [block for block in blocks if block.language != "text"]
    assert len(runnable) > 40
    reasons = [block.detail for block in runnable if block.remark == "not run"]
    assert len(reasons) <= MOST_NOT_RUN
    for named in re.findall(r"(?:tests|benchmarks)/\S+\.py", " ".join(reasons)):
        assert (ROOT / named).is_file(), named


def test_code_stands_in_fences():
    for page in book_pages():
        assert not indented_code(page), f"{page.name}: lines {indented_code(page)}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs(notebook, commands, world, tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra docs)")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra docs)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra docs)")
    book = nbformat.read(notebook, as_version=4)
    for cell in book.cells:
        assert not cell.get("outputs") and not cell.get("execution_count"), "stored with outputs"
        if cell.cell_type == "code":  # a notebook itself goes on behind a command that failed
            cell.source = re.sub(r"^(!.*)$", r"\1\nassert _exit_code == 0", cell.source, flags=re.M)
    if notebook.stem == "quickstart":  # a finished small run; else it would take five minutes
        for name in ("quickstart", "runs"):
            (tmp_path / name).symlink_to(world / name)
    place = {"metadata": {"path": tmp_path}}
    client = nbclient.NotebookClient(book, timeout=SECONDS, resources=place)
    client.execute(env=commands.environment)


def test_the_book_lists_the_notebooks():
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 4
    for notebook in NOTEBOOKS:
        assert f"(../notebooks/{notebook.name})" in page
