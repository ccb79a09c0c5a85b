"""How are answers chosen? The page's parameters, and what they are in an engine's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hanlin.core.config import ConfigSource, StrictModel, validate
from hanlin.core.errors import ConfigError
from hanlin.inference.engine import Sampling

# The four ways of decoding of Chinese-Vicuna's page: (draws tokens, follows beams).
DECODINGS = {
    "greedy": (False, False),
    "sampling": (True, False),
    "beam": (False, True),
    "beam_sampling": (True, True),
}
Decoding = Literal["greedy", "sampling", "beam", "beam_sampling"]
DRAWN = ("temperature", "top_k", "top_p", "min_p", "seed")  # only where tokens are drawn
BEAMS = ("num_beams", "length_penalty")  # only where beams are followed


class Parameters(StrictModel):
    """What the page lets a person choose; names and meanings are those of `Sampling`."""

    decoding: Decoding = "greedy"
    """Greedy, sampling, beam search or beam sampling."""

    max_new_tokens: int = Field(256, ge=1)
    """Longest answer."""

    temperature: float = Field(0.7, gt=0, le=2)
    """0 would be greedy."""

    top_k: int = Field(0, ge=0, le=1000)
    """0 for all tokens."""

    top_p: float = Field(0.9, gt=0, le=1)
    """1 for all tokens."""

    min_p: float = Field(0.0, ge=0, le=1)
    """0 for all tokens."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Of the random numbers."""

    num_beams: int = Field(4, ge=2, le=16)
    """1 would be no beam search."""

    length_penalty: float = Field(1.0, ge=-2, le=2)
    """Above 0 prefers long answers."""

    repetition_penalty: float = Field(1.0, ge=1, le=2)
    """1 for none."""

    presence_penalty: float = Field(0.0, ge=-2, le=2)
    """0 for none."""

    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    """0 for none."""

    def sampling(self) -> Sampling:
        """Return what an engine is given; what the way of decoding does not use is left out."""
        is_drawn, has_beams = DECODINGS[self.decoding]
        unused = {"decoding", *(() if is_drawn else DRAWN), *(() if has_beams else BEAMS)}
        return Sampling(**self.model_dump(exclude=unused))


def read_parameters(values: Mapping[str, Any], *, max_new_tokens: int) -> Parameters:
    """Return what the page's controls say.

    Raises:
        ConfigError: a value is out of its range, or of the server's.
    """
    source = ConfigSource("the parameters", Path())
    parameters = validate(Parameters, dict(values), source=source)
    if parameters.max_new_tokens > max_new_tokens:
        raise ConfigError(
            f"max_new_tokens is {parameters.max_new_tokens}",
            why=f"this server allows at most {max_new_tokens}",
        )
    return parameters


def parameters_of(sampling: Sampling, *, max_new_tokens: int) -> Parameters:
    """Return the parameters that a saved answer was made with; what it did not use is at defaults.

    Raises:
        ConfigError: the page cannot say them.
    """
    is_drawn, has_beams = sampling.temperature > 0, sampling.num_beams > 1
    names = {value: name for name, value in DECODINGS.items()}
    used = {"max_new_tokens", "repetition_penalty", "presence_penalty", "frequency_penalty",
            *(DRAWN if is_drawn else ()), *(BEAMS if has_beams else ())}  # fmt: skip
    values = {name: value for name, value in asdict(sampling).items() if name in used}
    return read_parameters(
        {"decoding": names[is_drawn, has_beams], **values}, max_new_tokens=max_new_tokens
    )
