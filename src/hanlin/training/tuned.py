"""How is a model opened for tuning, whole or with an adapter, and how is the result written?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.errors import ConfigError
from hanlin.core.stage import StageContext
from hanlin.models.load import model_folder
from hanlin.models.manifest import read_manifest, weights_sha256, write_manifest
from hanlin.models.save import disk_errors, save_model, write_stop_ids
from hanlin.prompts.encode import stop_ids
from hanlin.prompts.formats import get_format
from hanlin.prompts.jinja import checked_chat_template
from hanlin.tokenization.load import Tokenizer
from hanlin.training.adapters import Lora, add_lora, grown_ids, save_adapter
from hanlin.training.arguments import precision_of
from hanlin.training.initial import load_adapter, load_weights, lora_like
from hanlin.training.methods import Method, load_for
from hanlin.training.outcome import carried
from hanlin.training.schedule import Schedule
from hanlin.training.sharding import Sharding


class Tuning(Protocol):
    """The part of a config that says what is tuned."""

    @property
    def model(self) -> ModelPath:
        """Return the model."""

    @property
    def method(self) -> Method:
        """Return how it is tuned."""

    @property
    def lora(self) -> Lora:
        """Return the adapter's settings."""

    @property
    def schedule(self) -> Schedule:
        """Return the schedule."""

    @property
    def sharding(self) -> Sharding:
        """Return what the processes share out."""


@dataclass(frozen=True)
class Tuned:
    """A model that is being tuned.

    Attributes:
        model: with a new adapter, or as it is.
        tokenizer: its tokenizer.
        manifest: hanlin.json of the model that it started from.
        ids: rows that are trained beside an adapter.
    """

    model: Any
    tokenizer: Tokenizer
    manifest: Mapping[str, Any]
    ids: Sequence[int]


def open_tuned(config: Tuning, context: StageContext, *, start: InputPath | None) -> Tuned:
    """Load a model, add an adapter where the method has one, and put earlier weights into it.

    Args:
        config: what is tuned.
        context: gives the seed of a new adapter.
        start: an adapter or a state whose weights are taken.

    Raises:
        InputError: the model cannot be loaded, or the earlier weights do not fit.
        ConfigError: the settings do not go together.
    """
    precision = precision_of(config.schedule)
    model, tokenizer = load_for(config.method, config.model, precision=precision)
    folder, begun = model_folder(config.model), None if start is None else Path(start)
    manifest = read_manifest(folder)
    if config.method == "full":
        if begun is not None:
            load_weights(model, begun, tokenizer=tokenizer)
        return Tuned(model, tokenizer, manifest, ())
    lora = config.lora if begun is None else lora_like(begun, config.lora)
    ids = grown_ids(lora, manifest, rows=tokenizer.vocab_size)
    if ids and config.sharding.zero == 3:
        raise ConfigError(
            f"{len(ids)} rows of a grown vocabulary are to be trained, and sharding.zero is 3",
            why="peft puts trained rows into the whole matrix, which no process holds then",
            fix="set sharding.zero to 2, or lora.grown_rows to freeze",
        )
    adapted = add_lora(model, lora, ids=ids, seed=context.stream("lora"))
    if begun is not None:
        load_adapter(adapted, begun, base=folder, tokenizer=tokenizer)
    return Tuned(adapted, tokenizer, manifest, ids)


def write_tuned(config: Tuning, tuned: Tuned, prompt: Mapping[str, Any], folder: Path) -> None:
    """Write the tuned model, or its adapter, with the prompt that it was tuned on."""
    tokenizer, base = tuned.tokenizer, model_folder(config.model)
    fields = {**carried(tuned.manifest), "prompt": prompt}
    if config.method == "full":
        save_model(tuned.model, tokenizer, folder, **fields)
        format = get_format(prompt["format"])
        tokenizer.save(folder, chat_template=checked_chat_template(format, tokenizer))
        write_stop_ids(folder, stop_ids(format, tokenizer))
        return
    hub_id = str(config.model) if config.model.is_hub_id else None
    with disk_errors(folder):
        save_adapter(tuned.model, folder, ids=tuned.ids, base=base, base_name=hub_id)
    trained_on = {"hub_id": hub_id, "weights_sha256": weights_sha256(base)}
    write_manifest(folder, **{**fields, "base": trained_on, "tokenizer_sha256": tokenizer.sha256})
