"""A training does not fit on a card: what is the cheapest change that makes it fit?

Each change of a setting has a price, what it costs in time and quality on a scale of our own. All
combinations are tried and the cheapest that fits is named; more cards and another card are named
beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from hanlin.models.cards import Card, known_cards
from hanlin.models.info import ModelInfo
from hanlin.models.memory import Training, training_memory

SHORTEST_ROW = 256  # tokens; below it few conversations fit
MOST_CARDS = 1024
PRICES = {"rows": 1, "checkpointing": 2, "optimizer": 2, "int8": 4, "qlora": 5, "halved": 6}
LORA_PRICE = 12  # other weights are learned: only where nothing else helps
ADVISED_RANK = 16

Choice = tuple[int, dict[str, object]]  # price, changed fields of Training


@dataclass(frozen=True)
class Change:
    """Something that makes a training fit.

    Attributes:
        text: what to do, with the settings to type.
        settings: the recipe's keys and their new values.
        training: what is trained then.
        total: bytes at its peak.
    """

    text: str
    settings: dict[str, object]
    training: Training
    total: int

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        return {"text": self.text, "settings": self.settings, "total": self.total}


def fits(info: ModelInfo, training: Training, card: Card) -> bool:
    """Tell whether the peak lies within what a card can be counted on for."""
    return training_memory(info, training).total <= card.usable_bytes


def advise(info: ModelInfo, training: Training, card: Card) -> list[Change]:
    """Return the ways to make a training fit, cheapest first; none where nothing helps.

    At most three: settings, more of the same card (sharded), and the smallest other card.
    """
    found = [
        _cheapest_settings(info, training, card),
        _more_cards(info, training, card),
        _larger_card(info, training, card),
    ]
    return [change for change in found if change is not None]


def _cheapest_settings(info: ModelInfo, training: Training, card: Card) -> Change | None:
    best: tuple[int, Training] | None = None
    for price, changed in _combinations(training):
        if (best is None or price < best[0]) and fits(info, changed, card):
            best = price, changed
    return None if best is None else _change(info, training, best[1])


def _combinations(training: Training) -> Iterator[tuple[int, Training]]:
    axes: list[list[Choice]] = [
        _row_choices(training),
        [(0, {}), (PRICES["checkpointing"], {"is_recomputing": True})],
        [(0, {}), (PRICES["optimizer"], {"optimizer": "paged-adamw-8bit"})],
        _method_choices(training),
        _length_choices(training),
    ]
    for choice in product(*axes):
        changes: dict[str, object] = {}
        for _, part in choice:
            changes |= part
        yield sum(price for price, _ in choice), replace(training, **changes)  # type: ignore[arg-type]


def _row_choices(training: Training) -> list[Choice]:
    choices: list[Choice] = [(0, {})]
    rows = training.rows
    while rows > 1:
        rows //= 2
        choices.append((PRICES["rows"], {"rows": rows, "accumulates": True}))
    return choices


def _method_choices(training: Training) -> list[Choice]:
    adapter: dict[str, object] = {"trained_parameters": None, "rank": training.rank or ADVISED_RANK}
    int8, qlora = {"method": "int8"} | adapter, {"method": "qlora"} | adapter
    more: dict[str, list[Choice]] = {
        "full": [
            (LORA_PRICE, {"method": "lora"} | adapter),
            (LORA_PRICE + PRICES["int8"], int8),
            (LORA_PRICE + PRICES["qlora"], qlora),
        ],
        "lora": [(PRICES["int8"], int8), (PRICES["qlora"], qlora)],
        "int8": [(PRICES["qlora"], qlora)],
    }
    return [(0, {}), *more.get(training.method, [])]


def _length_choices(training: Training) -> list[Choice]:
    choices: list[Choice] = [(0, {})]
    length, price = training.seq_len, 0
    while length // 2 >= SHORTEST_ROW:
        length, price = length // 2, price + PRICES["halved"]
        choices.append((price, {"seq_len": length}))
    return choices


def _more_cards(info: ModelInfo, training: Training, card: Card) -> Change | None:
    """Shard over so many cards; a quantized base is not sharded by any trainer of ours."""
    if training.method in ("int8", "qlora"):
        return None
    small = replace(training, rows=1, is_recomputing=True, accumulates=True)
    for variant in (training, small):
        processes = max(2, training.processes)
        while processes <= MOST_CARDS:
            changed = replace(variant, processes=processes, zero_stage=3)
            if changed != training and fits(info, changed, card):
                return _sharded(info, training, changed, card)
            processes *= 2
    return None


def _sharded(info: ModelInfo, before: Training, after: Training, card: Card) -> Change:
    change = _change(info, before, after)
    text = f"{after.processes} x {card.title}, weights and optimizer sharded (sharding.zero=3)"
    text += f"; {change.text}" if change.settings else ""
    settings = {"processes": after.processes, "sharding.zero": 3} | change.settings
    return Change(text, settings, after, change.total)


def _larger_card(info: ModelInfo, training: Training, card: Card) -> Change | None:
    for other in sorted(known_cards().values(), key=lambda item: (item.memory_gb, item.tflops)):
        if other.memory_gb > card.memory_gb and fits(info, training, other):
            total = training_memory(info, training).total
            return Change(f"another card: {other.title}", {"gpu": other.name}, training, total)
    return None


def _change(info: ModelInfo, before: Training, after: Training) -> Change:
    names = {
        "method": "method",
        "rows": "schedule.micro_batch_size",
        "seq_len": "schedule.seq_len",
        "is_recomputing": "schedule.gradient_checkpointing",
        "optimizer": "schedule.optimizer",
    }
    settings: dict[str, object] = {
        key: getattr(after, name)
        for name, key in names.items()
        if getattr(after, name) != getattr(before, name)
    }
    text = ", ".join(f"{key}={_yaml(value)}" for key, value in settings.items())
    if after.rows != before.rows:
        text += f" (and {before.rows // after.rows} times the gradient_accumulation_steps)"
    return Change(text, settings, after, training_memory(info, after).total)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
