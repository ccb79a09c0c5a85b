"""How does a conversation live between two clicks? As the JSON that `hanlin chat` saves, too."""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any, cast

import gradio as gr

from hanlin.core.errors import InputError
from hanlin.core.records import Message
from hanlin.inference.conversation import Talk
from hanlin.inference.engine import Engine
from hanlin.inference.saved_talk import Said, saved_talk
from hanlin.serving.ui.page import Asked, Page
from hanlin.serving.ui.parameters import Parameters, parameters_of

Kept = dict[str, Any] | None  # a conversation as JSON; None before its first turn


def talk_of(page: Page, request: gr.Request, tab: str, kept: Kept, asked: Asked) -> Talk:
    """Return a conversation that goes on as the controls say."""
    format = page.models[asked.model].format
    # The part of an engine that a conversation asks for.
    engine = cast(Engine, page.queued(request, tab, asked.model))
    sampling, system = asked.parameters.sampling(), asked.system.strip() or None
    if kept is None:
        return Talk(engine, format=format, sampling=sampling, system=system)
    talk = Talk.from_json(engine, {**kept, "format": format.name})
    talk.sampling, talk.system = sampling, system
    return talk


def messages(kept: Kept) -> list[Message]:
    """Return what was said."""
    return [said.message for said in _history(kept)]


def as_asked(kept: Kept) -> list[tuple[Message, Said | None]]:
    """Return what can be asked again: each message with the model's own answer to it, if any."""
    said = _history(kept)
    pairs = zip_longest(said, said[1:])
    return [
        (one.message, after if after is not None and after.sampling is not None else None)
        for one, after in pairs
        if one.sampling is None
    ]


def read_conversation(text: str, *, max_new_tokens: int) -> tuple[dict[str, Any], Parameters]:
    """Return the conversation in a file's text, and the parameters of its last answer.

    Raises:
        InputError: it is no conversation.
        ConfigError: an answer was made in a way that this page cannot repeat.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            "the file is no saved conversation",
            why=f"it is not JSON: {error}",
            fix="give a file that this page, or /save of hanlin chat, wrote",
        ) from error
    saved = saved_talk(value, where="the file")
    made = [said.sampling for said in saved.history if said.sampling] or [saved.sampling]
    *_, parameters = (parameters_of(one, max_new_tokens=max_new_tokens) for one in made)
    return saved.to_json(), parameters


def _history(kept: Kept) -> tuple[Said, ...]:
    return () if kept is None else saved_talk(kept).history
