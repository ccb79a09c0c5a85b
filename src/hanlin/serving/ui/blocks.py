"""How is the page put together and onto the server?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from hanlin.serving.ui.chat import ChatTab
from hanlin.serving.ui.compare import CompareTab
from hanlin.serving.ui.controls import QUIET, Controls
from hanlin.serving.ui.extraction import ExtractionTab
from hanlin.serving.ui.gate import Gate
from hanlin.serving.ui.page import Page
from hanlin.serving.ui.runs import RunsTab, stored_report
from hanlin.serving.ui.served import Sessions, models_of
from hanlin.serving.ui.words import LANGUAGES, Wording

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hanlin.serving.settings import UiPlace

HERE = Path(__file__).parent
FONTS = ("system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")
MONO = ("ui-monospace", "Consolas", "Noto Sans Mono CJK SC", "monospace")
MAX_WAITING = 256  # clicks of all browsers that may wait for a thread
ICON = (
    '<link rel="icon" href="data:image/svg+xml,<svg xmlns=\'http://www.w3.org/2000/svg\' '
    "viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='%230d9488'/><text x='16' "
    "y='23' font-size='20' fill='white' text-anchor='middle'>翰</text></svg>\">"
)
REMEMBER = "(chosen) => hanlin.remember(chosen)"


def mount_blocks(
    app: FastAPI, place: UiPlace, *, path: str, language: str | None, max_new_tokens: int
) -> None:
    """Make the page and put it onto the app."""
    blocks = build_blocks(place, language=language, max_new_tokens=max_new_tokens)
    app.add_middleware(Gate, path=path)
    gr.mount_gradio_app(
        app,
        blocks,
        path=path,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gr.themes.Default(
            primary_hue="teal", neutral_hue="slate", font=FONTS, font_mono=MONO
        ),
        css_paths=[HERE / "page.css"],
        head=f"{ICON}<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
    )


def build_blocks(place: UiPlace, *, language: str | None, max_new_tokens: int) -> gr.Blocks:
    """Make the page."""
    wording = Wording(language or "zh")
    with gr.Blocks(title="Hanlin 翰林", analytics_enabled=False, fill_width=True) as blocks:
        with gr.Row(elem_id="header"):
            gr.HTML("<h1>翰林 <span>Hanlin</span></h1>", elem_id="title")
            chosen = gr.Radio(
                choices=[(name, key) for key, name in LANGUAGES.items()], value=wording.language,
                label="Language 语言", show_label=False, container=False, elem_id="language",
                scale=0, min_width=240,
            )  # fmt: skip
        page = _sidebar(wording, chosen, place, max_new_tokens)
        with gr.Tabs():
            with wording.add(gr.Tab, says={"label": "chat"}):
                ChatTab(page)
            with wording.add(gr.Tab, says={"label": "compare"}):
                CompareTab(page)
            with wording.add(gr.Tab, says={"label": "extraction"}):
                ExtractionTab(page, place.schemas)
            if place.runs is not None:
                with wording.add(gr.Tab, says={"label": "runs"}) as runs:
                    report_html = place.report_html or stored_report
                    RunsTab(page, place.runs, report_html).look_at(runs.select)
        _speak(blocks, wording, chosen, language)
        blocks.unload(page.stop)
    blocks.queue(api_open=False, max_size=MAX_WAITING, default_concurrency_limit=None)
    return blocks


def _sidebar(wording: Wording, chosen: Any, place: UiPlace, max_new_tokens: int) -> Page:  # noqa: ANN401
    models = models_of(place)
    with wording.add(gr.Sidebar, says={"label": "parameters"}, width=320):
        model = wording.add(
            gr.Dropdown, says={"label": "model"}, choices=list(models), value=place.name,
            filterable=False, elem_id="model",
        )  # fmt: skip
        system = wording.add(
            gr.Textbox, says={"label": "system", "placeholder": "system_hint"}, lines=2,
            max_lines=6, elem_id="system",
        )  # fmt: skip
        controls = Controls(wording, max_new_tokens=max_new_tokens)
    return Page(
        models=models, sessions=Sessions(), wording=wording, controls=controls, language=chosen,
        model=model, system=system,
    )  # fmt: skip


def _speak(blocks: gr.Blocks, wording: Wording, chosen: Any, language: str | None) -> None:  # noqa: ANN401
    """Let the page begin in the browser's language and change it where another is chosen."""

    def switch(language: str) -> list[Any]:
        return [gr.update(**said) for said in wording.updates(language)]

    def begin(language: str) -> list[Any]:
        if language == wording.language:  # as it was made
            return [gr.skip()] * (1 + len(wording.components))
        return [language, *switch(language)]

    outputs = wording.components
    chosen.input(switch, chosen, outputs, js=REMEMBER, **QUIET)
    begun = f"() => hanlin.language({json.dumps(language)})"
    blocks.load(begin, chosen, [chosen, *outputs], js=begun, **QUIET)
