"""What do all tabs of the page share?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hanlin.core.errors import HanlinError
from hanlin.serving.settings import UiPlace
from hanlin.serving.ui.controls import Controls
from hanlin.serving.ui.growing import inert
from hanlin.serving.ui.parameters import Parameters
from hanlin.serving.ui.served import Queued, Sessions
from hanlin.serving.ui.words import Key, Wording, word


@dataclass(frozen=True)
class Asked:
    """What a question depends on besides the conversation.

    Attributes:
        language: of the interface.
        model: who is asked.
        system: the system text.
        show_beams: whether all beams are shown.
        parameters: how the answer is chosen.
    """

    language: str
    model: str
    system: str
    show_beams: bool
    parameters: Parameters


@dataclass(frozen=True)
class Page:
    """What all tabs share.

    Attributes:
        models: by name, in the order in which they were given.
        sessions: who waits for what.
        wording: what the components say.
        controls: the parameters.
        language: component: of the interface.
        model: component: who is asked.
        system: component: the system text.
    """

    models: Mapping[str, UiPlace]
    sessions: Sessions
    wording: Wording
    controls: Controls
    language: Any
    model: Any
    system: Any

    @property
    def inputs(self) -> list[Any]:
        """Return the components that every question depends on; `asked` reads their values."""
        return [
            self.language, self.model, self.system, self.controls.show_beams,
            *self.controls.components,
        ]  # fmt: skip

    def asked(self, values: Sequence[Any]) -> Asked:
        """Return what the components say; tell the person where a parameter is wrong."""
        language, model, system, show_beams, *parameters = values
        try:
            return Asked(language, model, system, show_beams, self.controls.read(parameters))
        except HanlinError as error:
            raise told(error, language) from error

    def queued(self, request: gr.Request, tab: str, model: str) -> Queued:
        """Return a model as a tab of a browser asks it."""
        return Queued(self.models[model], self.sessions, f"{request.session_hash}/{tab}")

    def stop(self, request: gr.Request, tab: str = "") -> None:
        """End what a tab of a browser, or all of them, wait for."""
        self.sessions.stop(f"{request.session_hash}/{tab}")


def hint(key: Key, language: str) -> gr.Error:
    """Return what the page says where something has to be done first."""
    return gr.Error(word(key, language), title="", duration=5, print_exception=False)


def told(error: HanlinError, language: str) -> gr.Error:
    """Return an error as the page shows it; nothing of it goes to the log."""
    title = word("error", language)
    return gr.Error(inert(str(error)), title=title, duration=20, print_exception=False)
