"""Which cards does a plan know, and how is one's own named? Data in `cards.yaml`, with sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from hanlin.core.errors import ConfigError
from hanlin.core.registry import did_you_mean

GIB = 1 << 30
USABLE = 0.95  # of a card's memory: blocks of torch's allocator leave gaps
OWN_LINK = 12.0  # GB/s to the card beside it, where nothing is known: PCIe 3.0 x16


@dataclass(frozen=True)
class Card:
    """A graphics card.

    Attributes:
        name: as given to `--gpu`.
        title: as people write it.
        memory_gb: its memory, in GiB.
        tflops: dense matrix products of 16-bit numbers, in 10^12 operations a second.
        bandwidth: of its memory, in GB/s.
        link: to a card beside it, in GB/s and one direction.
        has_bf16: it multiplies bfloat16; one that does not needs fp16.
        usd_per_hour: price to rent it; None where none is known.
        source: where the numbers come from.
    """

    name: str
    title: str
    memory_gb: float
    tflops: float
    bandwidth: float
    link: float = OWN_LINK
    has_bf16: bool = True
    usd_per_hour: float | None = None
    source: str = ""

    @property
    def usable_bytes(self) -> int:
        """Return the bytes that a program can count on."""
        return int(self.memory_gb * GIB * USABLE)


def known_cards() -> dict[str, Card]:
    """Return the cards known by name, from small to large."""
    return {name: Card(name=name, **row) for name, row in _table().items()}


def find_card(name: str) -> Card:
    """Return a known card, or one's own given as "GB:TFLOPs:GB/s", such as "16:97:500".

    Raises:
        ConfigError: the name is not known, or the three numbers cannot be read.
    """
    if ":" in name:
        return _own_card(name)
    cards = known_cards()
    plain = name.lower().replace("_", "-").replace(" ", "-")
    if plain in cards:
        return cards[plain]
    raise ConfigError(
        f"unknown card {name!r}",
        why=f"known cards: {', '.join(cards)}",
        fix=did_you_mean(plain, cards)
        or "give your own by memory in GB, 16-bit TFLOP/s and memory bandwidth in GB/s: "
        "--gpu 16:97:500",
    )


def _own_card(text: str) -> Card:
    try:
        memory, tflops, bandwidth = map(float, text.split(":"))
        if not all(math.isfinite(x) and x > 0 for x in (memory, tflops, bandwidth)):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"cannot read the card {text!r}",
            why="a card of one's own is three positive numbers: memory in GB, TFLOP/s of dense "
            "16-bit matrix products, memory bandwidth in GB/s",
            fix="write --gpu 16:97:500",
        ) from None
    return Card(text, f"{memory:g} GB card", memory, tflops, bandwidth, source="given")


@cache
def _table() -> dict[str, Any]:
    text = files("hanlin.models").joinpath("cards.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
