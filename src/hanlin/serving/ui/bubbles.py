"""How does a conversation look? Each message character by character as it is, never as markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hanlin.core.records import Message
from hanlin.serving.ui.growing import Shown, inert
from hanlin.serving.ui.words import word

ICONS = {
    "copy": "<rect x='7' y='7' width='10' height='10' rx='2'/><path d='M4 13V5a2 2 0 0 1 2-2h7'/>",
    "edit": "<path d='M4 16l1-4 8-8 3 3-8 8zM11 6l3 3'/>",
}
# The word may come later than the component.
HELLO = "<p class='hello'>${typeof hello === 'string' ? hello : ''}</p>"
TEMPLATE = f"<div class='window'><div class='said'>${{value || `{HELLO}`}}</div></div>"


def window(elem_id: str) -> dict[str, Any]:
    """Return the properties of a component that shows a conversation; its value is `bubbles`."""
    return {
        "html_template": TEMPLATE,
        "js_on_load": "element.addEventListener('click', (e) => hanlin.onChat(e, trigger));",
        "elem_id": elem_id,
    }


def bubbles(
    said: Sequence[Message], language: str, *, answer: Shown | None = None, is_editable: bool = True
) -> str:
    """Return a conversation as HTML.

    Args:
        said: its messages.
        language: of the interface.
        answer: what is being answered to the last one.
        is_editable: whether questions can be edited; not while there is an answer.
    """
    does = {"user": ["copy"], "assistant": ["copy"]}
    if is_editable and answer is None:
        does["user"].append("edit")
    shown = []
    for index, message in enumerate(said):
        kind = "user" if message.role == "user" else "assistant"
        buttons = _buttons(does[kind], language)
        shown.append(_bubble(kind, inert(message.content), f'data-index="{index}"', does=buttons))
    if answer is not None:
        text = f'{inert(answer.text)}<span class="tail">{inert(answer.tail)}</span>'
        kind = "assistant" if answer.is_over else "assistant growing"
        shown.append(_bubble(kind, text))
    return "".join(shown)


def _bubble(kind: str, text: str, data: str = "", *, does: str = "") -> str:
    return (
        f'<div class="bubble {kind}" {data}><div class="text">{text}</div>'
        f'<div class="does">{does}</div></div>'
    )


def _buttons(names: Sequence[str], language: str) -> str:
    return "".join(
        f'<button type="button" data-do="{name}" title="{word(name, language)}" '
        f'aria-label="{word(name, language)}"><svg viewBox="0 0 20 20">{ICONS[name]}</svg></button>'
        for name in names
    )
