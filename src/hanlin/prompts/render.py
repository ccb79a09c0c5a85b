"""What are the parts of a conversation in a prompt format, before any tokenizer sees them?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hanlin.core.errors import InputError
from hanlin.core.records import Conversation, Message, ToolCall
from hanlin.prompts.format import (
    CONTENT,
    EOS,
    INPUT,
    SYSTEM,
    PromptFormat,
    ToolFormat,
    pieces,
)


class Segment(NamedTuple):
    """A part that is encoded by itself.

    Attributes:
        text: context or an answer; of a marker its name, "" of the begin token, None of the
            tokenizer's end token.
        answer: number of the answer it belongs to, where the loss counts it.
        special: the marker, `{bos}` or `{eos}`; "" where it is text.
    """

    text: str | None
    answer: int | None = None
    special: str = ""


def render(
    messages: Sequence[Message],
    *,
    format: PromptFormat,
    opens_answer: bool,
    tools: Sequence[str] = (),
) -> list[Segment]:
    """Return the parts of a conversation in order.

    Args:
        messages: an optional system message first, then the turns.
        format: the prompt format.
        opens_answer: end with the words that open the next answer, as a prompt does.
        tools: the functions that answers may call, each the text of a JSON object.

    Raises:
        InputError: there are tools, calls or results, and the format has no place for them.
    """
    if reason := _unsupported(messages, tools, format):
        raise InputError(reason, why="they would be lost", fix="choose the format chatml or llama3")
    script = _Script(format, tools)
    if "system" not in [message.role for message in messages]:
        script.system(_default_system(messages, format))
    for index, message in enumerate(messages):
        if message.role == "system":
            script.system(_text(message, format))
        elif message.role == "user":
            script.user(message)
        elif message.role == "tool":
            script.result(message, messages[index - 1 : index], messages[index + 1 : index + 2])
        else:
            script.answer(message, is_last=index == len(messages) - 1 and not opens_answer)
    if opens_answer:
        script.open_answer()
    return script.finish()


def unsupported(conversation: Conversation, format: PromptFormat) -> str:
    """Return why a format cannot hold a conversation; "" where it can."""
    return _unsupported(conversation.messages, conversation.tools, format)


def _unsupported(messages: Sequence[Message], tools: Sequence[str], format: PromptFormat) -> str:
    if format.tools is not None:
        return ""
    found = ["tools"] if tools else []
    if any([message.tool_calls for message in messages]):
        found.append("tool calls")
    if "tool" in [message.role for message in messages]:
        found.append("tool results")
    return f"prompt format {format.name!r} has no place for {' and '.join(found)}" if found else ""


def normal_json(text: str) -> str:
    """Return a JSON text as `tojson` of chat templates writes it; other text as it is."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


class _Script:
    """Puts parts together; text that follows text becomes one segment."""

    def __init__(self, format: PromptFormat, tools: Sequence[str]) -> None:
        self.format, self.tools = format, tools
        self.segments: list[Segment] = []
        self.number = 0  # of the next answer that the loss counts
        self.pending_system: str | None = None  # where it stands inside the next question
        self._open: list[str] = []

    def system(self, content: str) -> None:
        """Add a system text, and what it says of the tools."""
        if self.format.tools is not None and self.tools:
            content = _with_offer(content, self.tools, self.format.tools)
            self.tools = ()
        if not content:
            return
        if SYSTEM in self.format.user:
            self.pending_system = content
        else:
            self.add(self.format.system, {CONTENT: content})

    def user(self, message: Message) -> None:
        """Add a question."""
        content, values = _text(message, self.format), {}
        template, at = self.format.user, message.input_at
        if self.format.input_user and at is not None and message.content[at:]:
            template = self.format.input_user
            values = {CONTENT: message.content[: max(at - 1, 0)], INPUT: message.content[at:]}
        self.question(template, {CONTENT: content} | values)

    def question(self, template: str, values: Mapping[str, str]) -> None:
        """Add a filled question, and the system text where it stands in there."""
        system = ""
        if self.pending_system is not None:
            before, _, after = self.format.system.partition(CONTENT)
            system = before + self.pending_system + after
            self.pending_system = None
        self.add(template, {**values, SYSTEM: system})

    def result(self, message: Message, before: Sequence[Message], after: Sequence[Message]) -> None:
        """Add what a tool gave back."""
        tools = self.format.tools
        assert tools is not None
        opening, _, closing = tools.turn.partition(CONTENT)
        follows = tools.joins_results and any(m.role == "tool" for m in before)
        goes_on = tools.joins_results and any(m.role == "tool" for m in after)
        self.add("\n" if follows else opening, {})
        self.add(tools.result, {CONTENT: _text(message, self.format)})
        if not goes_on:
            self.add(closing, {})

    def answer(self, message: Message, *, is_last: bool) -> None:
        """Add an answer and its end; as context alone where it is not trained."""
        self.open_answer()
        number = self.number if message.is_trained else None
        self.number += message.is_trained
        body = _body(message, self.format)
        self.add(self.format.answer, {CONTENT: body})
        self._flush(number, keep_empty=True)
        ends = self.format.end if self.format.eos_after == "every" or is_last else ""
        for _, name in self.format.pieces(ends + (self.format.final if is_last else "")):
            self._special(name, number)
        if not is_last:
            self.add(self.format.separator, {})

    def open_answer(self) -> None:
        """Add the words that open an answer, and end the segment there."""
        if self.pending_system is not None:  # no question stands before the first answer
            self.question(self.format.user, {CONTENT: ""})
        self.add(self.format.assistant, {})
        self._flush(None)

    def finish(self) -> list[Segment]:
        """Return the segments."""
        self._flush(None)
        return self.segments

    def add(self, template: str, values: Mapping[str, str]) -> None:
        """Add a filled template; special tokens in it, but none in the values, end a segment."""
        for kind, text in self.format.pieces(template):
            if kind == "special":
                self._flush(None)
                self._special(text, None)
            else:
                self._open.append(values[text] if kind == "slot" else text)

    def _special(self, name: str, number: int | None) -> None:
        text = {EOS: None}.get(name, name if name in self.format.markers else "")
        self.segments.append(Segment(text, number, name))

    def _flush(self, number: int | None, *, keep_empty: bool = False) -> None:
        text = "".join(self._open)
        self._open = []
        if text or keep_empty:
            self.segments.append(Segment(text, number))


def _text(message: Message, format: PromptFormat) -> str:
    return message.content.strip() if format.strips else message.content


def _default_system(messages: Sequence[Message], format: PromptFormat) -> str:
    first = next((message for message in messages if message.role == "user"), None)
    has_input = first is not None and first.input_at is not None and first.content[first.input_at :]
    return format.input_system or format.default_system if has_input else format.default_system


def _with_offer(content: str, tools: Sequence[str], look: ToolFormat) -> str:
    before, _, after = look.offer.partition("{tools}")
    offer = before + look.between.join(map(normal_json, tools)) + after
    parts = [offer, content] if look.is_offer_first else [content, offer]
    return "\n\n".join(part for part in parts if part)


def _body(message: Message, format: PromptFormat) -> str:
    """Return an answer's text with its calls."""
    calls = [_call(call, format.tools) for call in message.tool_calls if format.tools]
    text = _text(message, format)
    return "\n".join([text, *calls] if text or not calls else calls)


def _call(call: ToolCall, look: ToolFormat) -> str:
    values = {"{name}": call.name, "{arguments}": normal_json(call.arguments)}
    return "".join(values[text] if kind == "slot" else text for kind, text in pieces(look.call))
