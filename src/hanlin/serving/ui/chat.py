"""The tab in which a person talks to a model: ask, stop, retry, edit, undo, save, open, replay."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from hanlin.core.errors import HanlinError
from hanlin.core.records import Message
from hanlin.inference.conversation import Talk
from hanlin.inference.engine import StreamEvent
from hanlin.serving.ui.bubbles import bubbles
from hanlin.serving.ui.chat_layout import TOOLS, lay_out
from hanlin.serving.ui.controls import ANSWERING, NAMES, QUIET
from hanlin.serving.ui.growing import Shown, beams_html, grow, note_html, status_html
from hanlin.serving.ui.page import Asked, Page, hint, told
from hanlin.serving.ui.talking import Kept, as_asked, messages, read_conversation, talk_of
from hanlin.serving.ui.words import word

TAB = "chat"
DOWNLOAD = "(text) => hanlin.download(text, 'hanlin-conversation.json')"
PICK = "() => hanlin.pick()"
QUESTION = 4  # place of the question's box in a state
State = list[Any]


class ChatTab:
    """What the tab's components do."""

    def __init__(self, page: Page) -> None:
        self._page, self._seen = page, lay_out(page)
        seen = self._seen
        # What a state of an answer is made of; see `_answer`.
        self._outputs = [
            seen.kept, seen.chatbot, seen.status, seen.beams,
            seen.question, seen.send, seen.stop, *seen.tools.values(),
        ]  # fmt: skip
        self._connect_answers()
        self._connect_tools()

    def _connect_answers(self) -> None:
        seen, page = self._seen, self._page
        inputs = [seen.kept, *page.inputs]
        asked = [seen.question.submit, seen.send.click]
        gr.on(asked, self.ask, [seen.question, *inputs], self._outputs, **ANSWERING)
        seen.chatbot.edit(self.edit, inputs, self._outputs, **ANSWERING)
        seen.tools["retry"].click(self.retry, inputs, self._outputs, **ANSWERING)
        seen.tools["replay"].click(self.replay, inputs, self._outputs, **ANSWERING)
        seen.stop.click(self.stop, **QUIET)

    def _connect_tools(self) -> None:
        seen, page = self._seen, self._page
        shown = [seen.kept, seen.chatbot, seen.status, seen.beams]
        drawn = [seen.chatbot, seen.status, seen.beams]
        page.language.input(self.draw, [seen.kept, page.language], drawn, **QUIET)
        undone = [*shown, seen.question]
        seen.tools["undo"].click(self.undo, [seen.kept, *page.inputs], undone, **QUIET)
        seen.tools["clear"].click(lambda: (None, "", "", ""), None, shown, **QUIET)
        saved = seen.tools["save"].click(self.save, [seen.kept, page.language], seen.file, **QUIET)
        saved.success(None, seen.file, None, js=DOWNLOAD, **QUIET)
        picked = seen.tools["open"].click(None, None, seen.file, js=PICK, **QUIET)
        picked.success(
            self.open, [seen.file, page.language],
            [*shown, seen.file, page.system, *page.controls.components], **QUIET,
        )  # fmt: skip

    def ask(self, request: gr.Request, question: str, kept: Kept, *rest: Any) -> Iterator[State]:  # noqa: ANN401
        """Answer a question; the conversation grows by a turn."""
        asked = self._page.asked(rest)
        if not question.strip():
            raise hint("ask_first", asked.language)
        talk = talk_of(self._page, request, TAB, kept, asked)
        asking = [*talk.messages, Message("user", question)]
        for number, state in enumerate(self._answer(talk, asking, talk.events(question), asked)):
            if number == 0:
                state[QUESTION] = ""
            yield state

    def retry(self, request: gr.Request, kept: Kept, *rest: Any) -> Iterator[State]:  # noqa: ANN401
        """Ask the last question again, as the controls say now and with the next seed."""
        asked = self._page.asked(rest)
        talk = talk_of(self._page, request, TAB, kept, asked)
        yield from self._again(talk, asked)

    def edit(
        self, request: gr.Request, event: gr.EventData, kept: Kept, *rest: Any  # noqa: ANN401
    ) -> Iterator[State]:  # fmt: skip
        """Ask an edited question; what came after it is forgotten."""
        asked = self._page.asked(rest)
        talk = talk_of(self._page, request, TAB, kept, asked)
        talk.edit(int(event.index), str(event.text).strip())  # as page.js hands them over
        yield from self._again(talk, asked)

    def replay(self, request: gr.Request, kept: Kept, *rest: Any) -> Iterator[State]:  # noqa: ANN401
        """Ask all again, each as it was asked, and count the answers that are the same."""
        asked = self._page.asked(rest)
        talk = talk_of(self._page, request, TAB, None, asked)
        same = total = 0
        for message, answer in as_asked(kept):
            if answer is None or answer.sampling is None:
                talk.add(message)
                continue
            talk.sampling = answer.sampling
            asking, events = [*talk.messages, message], talk.events(message.content)
            shown = yield from self._answer(talk, asking, events, asked)
            if shown.status in ("stopped", "error"):
                return
            same += shown.text == answer.message.content
            total += 1
        if not total:
            raise hint("nothing_yet", asked.language)
        note = note_html(word("replayed", asked.language).format(same, total))
        yield [gr.skip(), gr.skip(), note, *[gr.skip()] * (len(self._outputs) - 3)]

    def draw(self, kept: Kept, language: str) -> State:
        """Return what the chat looks like in another language."""
        return [bubbles(messages(kept), language), "", ""]

    def stop(self, request: gr.Request) -> None:
        """End the answer; it stays as far as it came."""
        self._page.stop(request, TAB)

    def undo(self, request: gr.Request, kept: Kept, *rest: Any) -> State:  # noqa: ANN401
        """Take the last turn back; its question can be changed and sent again."""
        asked = self._page.asked(rest)
        talk = talk_of(self._page, request, TAB, kept, asked)
        try:
            question = talk.undo()
        except HanlinError as error:
            raise hint("nothing_yet", asked.language) from error
        return [talk.to_json(), bubbles(talk.messages, asked.language), "", "", question]

    def save(self, kept: Kept, language: str) -> str:
        """Return the file of the conversation; the browser keeps it, the server does not."""
        if not messages(kept):
            raise hint("nothing_yet", language)
        return json.dumps(kept, ensure_ascii=False, indent=2) + "\n"

    def open(self, text: str, language: str) -> State:
        """Show a saved conversation and set the controls to its last answer's."""
        controls = self._page.controls
        if not text:  # no file was chosen
            return [gr.skip()] * (6 + len(NAMES))
        try:
            kept, parameters = read_conversation(text, max_new_tokens=controls.max_new_tokens)
        except HanlinError as error:
            raise told(error, language) from error
        said = messages(kept)
        turns = sum(message.role == "user" for message in said)
        note = note_html(word("opened", language).format(turns))
        shown = [kept, bubbles(said, language), note, ""]
        return [*shown, "", kept["system"] or "", *controls.values(parameters)]

    def _again(self, talk: Talk, asked: Asked) -> Iterator[State]:
        said = talk.messages
        asking = [number for number, message in enumerate(said, 1) if message.role == "user"]
        if not asking:
            raise hint("nothing_yet", asked.language)
        yield from self._answer(talk, said[: asking[-1]], talk.retry(), asked)

    def _answer(
        self, talk: Talk, asking: list[Message], events: Generator[StreamEvent], asked: Asked
    ) -> Generator[State, None, Shown]:
        """Yield what `_outputs` are in each state of an answer; return the last one.

        Args:
            talk: the conversation.
            asking: what was said, the question last.
            events: the answer to it.
            asked: what the controls say.
        """
        with closing(events):
            for shown in grow(events):
                answer = None if shown.is_over else shown
                said = talk.messages if shown.is_over else asking
                chat = bubbles(said, asked.language, answer=answer)
                line = status_html(shown, asked.language, num_forgotten=talk.num_forgotten)
                beams = beams_html(shown.beams, asked.language) if asked.show_beams else ""
                kept = talk.to_json() if shown.is_over else gr.skip()
                is_lost = shown.is_over and len(said) < len(asking)  # nothing came
                question = asking[-1].content if is_lost else gr.skip()
                state = [kept, chat, line, beams, question]
                yield [*state, *buttons(shown)]
        return shown


def buttons(shown: Shown) -> State:
    """Return what send, stop and the tools are in a state of an answer."""
    if shown.status == "answering":  # as they were
        return [gr.skip()] * (2 + len(TOOLS))
    is_over = shown.is_over
    tools = [gr.update(interactive=is_over)] * len(TOOLS)
    return [gr.update(visible=is_over), gr.update(visible=not is_over), *tools]
