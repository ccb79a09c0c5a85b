"""The tab in which one question goes to two models at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from hanlin.core.records import Message
from hanlin.serving.ui.bubbles import bubbles, window
from hanlin.serving.ui.chat_layout import action, question_box
from hanlin.serving.ui.controls import ANSWERING, QUIET
from hanlin.serving.ui.growing import beams_html, grow, status_html
from hanlin.serving.ui.page import Page, hint
from hanlin.serving.ui.talking import Kept, talk_of

TAB = "compare"
SIDES = ("left", "right")
State = list[Any]


@dataclass(frozen=True)
class Side:
    """One of the two conversations."""

    model: Any
    kept: Any
    chatbot: Any
    status: Any
    beams: Any

    @property
    def outputs(self) -> list[Any]:
        """Return what an answer changes."""
        return [self.kept, self.chatbot, self.status, self.beams]


class CompareTab:
    """What the tab's components do: the two answers are two events of one click."""

    def __init__(self, page: Page) -> None:
        self._page = page
        names = list(page.models)
        with gr.Row():
            self._sides = [
                self._side(side, names[min(number, len(names) - 1)])
                for number, side in enumerate(SIDES)
            ]
        with gr.Row(elem_classes="asking"):
            self._question = question_box(page, "compare-question", hint="compare_hint")
            self._send = action(page, "send", elem_id="compare-send", variant="primary")
            self._stop = action(page, "stop", elem_id="compare-stop")
            self._clear = action(page, "clear", elem_id="compare-clear")
        self._connect()

    def _side(self, side: str, name: str) -> Side:
        page = self._page
        with gr.Column(min_width=280):
            model = page.wording.add(
                gr.Dropdown, says={"label": side}, choices=list(page.models), value=name,
                filterable=False, elem_id=f"model-{side}",
            )  # fmt: skip
            chatbot = page.wording.add(
                gr.HTML, says={"hello": "hello_compare"}, **window(f"chatbot-{side}")
            )
            status, beams = gr.HTML(elem_id=f"status-{side}"), gr.HTML()
        return Side(model, gr.State(None), chatbot, status, beams)

    def _connect(self) -> None:
        asked = gr.State("")
        taken = gr.on(
            [self._question.submit, self._send.click], self.take,
            [self._question, self._page.language], [asked, self._question], **QUIET,
        )  # fmt: skip
        for side in self._sides:
            taken.success(
                self.answer, [asked, side.kept, side.model, *self._page.inputs], side.outputs,
                **ANSWERING,
            )  # fmt: skip
        self._stop.click(self.stop, **QUIET)
        outputs = [output for side in self._sides for output in side.outputs]
        statuses = [side.status for side in self._sides]
        self._page.language.input(lambda: [""] * len(SIDES), None, statuses, **QUIET)
        self._clear.click(lambda: [None, "", "", ""] * len(SIDES), None, outputs, **QUIET)

    def take(self, question: str, language: str) -> State:
        """Take the question out of its box."""
        if not question.strip():
            raise hint("ask_first", language)
        return [question, ""]

    def answer(
        self, request: gr.Request, question: str, kept: Kept, name: str, *rest: Any  # noqa: ANN401
    ) -> Iterator[State]:  # fmt: skip
        """Answer on one side."""
        asked = replace(self._page.asked(rest), model=name)
        talk = talk_of(self._page, request, TAB, kept, asked)
        asking = [*talk.messages, Message("user", question)]
        with closing(talk.events(question)) as events:
            for shown in grow(events):
                line = status_html(shown, asked.language, num_forgotten=talk.num_forgotten)
                beams = beams_html(shown.beams, asked.language) if asked.show_beams else ""
                said = bubbles(asking, asked.language, answer=shown, is_editable=False)
                yield [talk.to_json() if shown.is_over else gr.skip(), said, line, beams]

    def stop(self, request: gr.Request) -> None:
        """End both answers."""
        self._page.stop(request, TAB)
