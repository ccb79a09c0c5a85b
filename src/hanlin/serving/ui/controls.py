"""Which controls choose the parameters? One for each field of `Parameters`, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from hanlin.serving.ui.parameters import BEAMS, DECODINGS, DRAWN, Parameters, read_parameters
from hanlin.serving.ui.words import WORDS, Wording

NAMES = tuple(Parameters.model_fields)
STEPS = {"temperature": 0.05, "top_p": 0.01, "min_p": 0.01, "length_penalty": 0.1,
         "repetition_penalty": 0.01, "presence_penalty": 0.1, "frequency_penalty": 0.1}  # fmt: skip
# Of every event: no entry in an API, no spinner over what is read.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Of those that wait for a model: gradio has 40 threads, and a click on stop needs one, too.
ANSWERING: dict[str, Any] = {**QUIET, "concurrency_limit": 24, "concurrency_id": "answers"}
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")


class Controls:
    """The controls of the parameters.

    Args:
        wording: says their names.
        max_new_tokens: the longest answer that can be asked for.

    Attributes:
        components: the controls, in the order of `NAMES`.
        show_beams: whether all beams are shown.
        max_new_tokens: the longest answer that can be asked for.
    """

    def __init__(self, wording: Wording, *, max_new_tokens: int) -> None:
        self._wording, self.max_new_tokens = wording, max_new_tokens
        self._start = Parameters(max_new_tokens=min(256, max_new_tokens))
        decoding = wording.add(
            gr.Radio, says={"label": "decoding", "choices": list(DECODINGS)},
            value=self._start.decoding, elem_id="decoding",
        )  # fmt: skip
        made = {"decoding": decoding}
        made |= {name: self._made(name) for name in ("max_new_tokens", *DRAWN, *BEAMS)}
        with wording.add(gr.Accordion, says={"label": "penalties"}, open=False):
            made |= {name: self._made(name) for name in PENALTIES}
        self.components = [made[name] for name in NAMES]
        self.show_beams = wording.add(
            gr.Checkbox, says={"label": "show_beams"}, value=True, visible=False,
            elem_id="show-beams",
        )  # fmt: skip
        used = [*(made[name] for name in (*DRAWN, *BEAMS)), self.show_beams]
        decoding.change(self.used, decoding, used, **QUIET)

    def used(self, decoding: str) -> list[dict[str, Any]]:
        """Show only what a way of decoding uses."""
        is_drawn, has_beams = DECODINGS[decoding]
        return [
            *(gr.update(visible=is_drawn) for _ in DRAWN),
            *(gr.update(visible=has_beams) for _ in (*BEAMS, self.show_beams)),
        ]

    def read(self, values: Sequence[Any]) -> Parameters:
        """Return what the controls say.

        Raises:
            ConfigError: a value is out of its range.
        """
        chosen = dict(zip(NAMES, values, strict=True))
        return read_parameters(chosen, max_new_tokens=self.max_new_tokens)

    def values(self, parameters: Parameters) -> list[Any]:
        """Return what the controls are set to."""
        return [getattr(parameters, name) for name in NAMES]

    def _made(self, name: str) -> Any:  # noqa: ANN401 - a component of gradio
        says = {"label": name} | ({"info": f"{name}_info"} if f"{name}_info" in WORDS else {})
        value = getattr(self._start, name)
        settings = {"value": value, "visible": name not in (*DRAWN, *BEAMS), "elem_id": name}
        if name == "seed":
            return self._wording.add(gr.Number, says=says, precision=0, minimum=0, **settings)
        rules = Parameters.model_fields[name].metadata
        limits = {key: getattr(rule, key) for rule in rules for key in ("ge", "gt", "le")
                  if hasattr(rule, key)}  # fmt: skip
        step = STEPS.get(name, 1)
        low = limits["ge"] if "ge" in limits else limits["gt"] + step
        high = limits.get("le", self.max_new_tokens)
        return self._wording.add(
            gr.Slider, says=says, minimum=low, maximum=high, step=step, **settings
        )
