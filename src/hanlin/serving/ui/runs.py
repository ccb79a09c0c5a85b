"""The tab that shows the report cards of runs: those below one folder, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from hanlin.core.errors import HanlinError, InputError
from hanlin.core.files import os_error
from hanlin.serving.ui.controls import QUIET
from hanlin.serving.ui.growing import literal, note_html
from hanlin.serving.ui.page import Page, told
from hanlin.serving.ui.words import word

MARK = "run.json"  # what makes a folder a run directory
DEPTH = 3  # folders below the one that is given
ReportHtml = Callable[[Path], str]


class RunsTab:
    """What is on the tab and what it does.

    Args:
        page: what all tabs share.
        folder: where the runs are.
        report_html: run directory -> its report card as a page.
    """

    def __init__(self, page: Page, folder: Path, report_html: ReportHtml) -> None:
        self._page, self._folder, self._report_html = page, folder, report_html
        add = page.wording.add
        with gr.Row(elem_classes="asking"):
            self._run = add(
                gr.Dropdown, says={"label": "run"}, choices=[], value=None, scale=4, elem_id="run"
            )
            self._refresh = add(
                gr.Button, says={"value": "refresh"}, scale=1, min_width=90, elem_id="refresh"
            )
        self._report = gr.HTML(elem_id="report")
        self._run.input(self.show, [self._run, page.language], self._report, **QUIET)
        self.look_at(self._refresh.click)

    def look_at(self, event: Any) -> None:  # noqa: ANN401 - an event of gradio
        """Look for runs, and show the one that is chosen, whenever something happens."""
        event(self.look, [self._run, self._page.language], [self._run, self._report], **QUIET)

    def look(self, chosen: str | None, language: str) -> list[Any]:
        """Return the runs that there are now and the report of one of them."""
        names = list(find_runs(self._folder))
        if not names:
            return [gr.update(choices=[], value=None), note_html(word("no_runs", language))]
        name = chosen if chosen in names else names[0]
        return [gr.update(choices=names, value=name), self.show(name, language)]

    def show(self, name: str, language: str) -> str:
        """Return a run's report card, shut in: it can reach neither this page nor any other."""
        try:
            report = self._report_html(run_named(self._folder, name))
        except HanlinError as error:
            raise told(error, language) from error
        return frame(report, title=name)


def frame(report: str, *, title: str) -> str:
    """Return a page as a frame without rights but to run its own scripts."""
    content = literal(escape(report, quote=True))
    name = literal(escape(title, quote=True))
    rights = 'class="report" sandbox="allow-scripts"'
    return f'<iframe {rights} title="{name}" srcdoc="{content}"></iframe>'


def find_runs(folder: Path) -> dict[str, Path]:
    """Return the run directories below a folder, by their paths in it; itself, if it is one.

    A link that leads out of the folder is none of it.
    """
    root = folder.resolve()
    found = {path.relative_to(root).as_posix(): path for path in _runs(root, DEPTH)}
    return {(name if name != "." else root.name): found[name] for name in sorted(found)}


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / MARK).is_file():
        yield folder
    elif depth:
        try:
            below = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError:  # not ours to read
            return
        for path in below:
            if path.is_dir() and not path.is_symlink():
                yield from _runs(path, depth - 1)


def run_named(folder: Path, name: str) -> Path:
    """Return a run directory of a folder.

    Raises:
        InputError: there is none of that name.
    """
    runs = find_runs(folder)
    if name not in runs:
        raise InputError(
            "there is no such run", why="it was moved, or it is not in this folder", fix="refresh"
        )
    return runs[name]


def stored_report(run: Path) -> str:
    """Return the report card that lies in a run directory.

    Raises:
        InputError: there is none, or it leads elsewhere.
    """
    file = run / "report.html"
    if file.is_symlink() or not file.is_file():
        raise InputError(
            f"{run.name} has no report card", why="the run has not come to its end",
            fix=f"hanlin report {run.name}",
        )  # fmt: skip
    try:
        return file.read_text(encoding="utf-8", errors="ignore")
    except OSError as error:
        raise os_error(error, file) from error
