"""What is on the tab in which a person talks to a model, from top to bottom?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from hanlin.serving.ui.bubbles import window
from hanlin.serving.ui.page import Page

TOOLS = ("retry", "undo", "clear", "save", "open", "replay")


@dataclass(frozen=True)
class ChatLayout:
    """The tab's components.

    Attributes:
        kept: state: the conversation as JSON.
        chatbot: what was said.
        status: a line below it.
        beams: all beams of the answer.
        question: the box to write in.
        send: its button.
        stop: takes the place of `send` while the model answers.
        tools: the smaller buttons.
        file: hidden: the text of a file on its way from or to the browser.
    """

    kept: Any
    chatbot: Any
    status: Any
    beams: Any
    question: Any
    send: Any
    stop: Any
    tools: dict[str, Any]
    file: Any


def lay_out(page: Page) -> ChatLayout:
    """Make the tab's components."""
    add = page.wording.add
    chatbot = add(gr.HTML, says={"hello": "hello"}, **window("chatbot"))
    status, beams = gr.HTML(elem_id="chat-status"), gr.HTML(elem_id="beams")
    with gr.Row(elem_classes="asking"):
        question = question_box(page, "question", hint="question_hint")
        send = action(page, "send", variant="primary")
        stop = action(page, "stop", variant="stop", visible=False)
    with gr.Row(elem_classes="tools"):
        tools = {
            name: add(gr.Button, says={"value": name}, size="sm", min_width=70, elem_id=name)
            for name in TOOLS
        }
    return ChatLayout(
        kept=gr.State(None), chatbot=chatbot, status=status, beams=beams, question=question,
        send=send, stop=stop, tools=tools, file=gr.Textbox(visible="hidden", elem_id="chat-file"),
    )  # fmt: skip


def question_box(page: Page, elem_id: str, *, hint: str) -> Any:  # noqa: ANN401 - a component
    """Make a box for a question."""
    return page.wording.add(
        gr.Textbox, says={"label": "question", "placeholder": hint}, show_label=False, lines=1,
        max_lines=8, scale=8, container=False, elem_id=elem_id,
    )  # fmt: skip


def action(page: Page, word: str, *, elem_id: str | None = None, **settings: Any) -> Any:  # noqa: ANN401
    """Make a button beside such a box."""
    return page.wording.add(
        gr.Button, says={"value": word}, scale=1, min_width=90, elem_id=elem_id or word, **settings
    )
