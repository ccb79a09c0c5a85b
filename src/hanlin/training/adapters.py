"""How is a LoRA adapter put on a model, and how is it saved?

Grown rows are trained as rows (`trainable_token_indices`): the old ones stay exactly as they were,
and the file holds a tenth of what whole embedding matrices would take.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hanlin.core.config import StrictModel
from hanlin.core.errors import ConfigError
from hanlin.core.extras import require
from hanlin.core.files import list_files, read_json, write_json
from hanlin.training.saved_adapter import CONFIG, WEIGHTS, check_saved

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Lora(StrictModel):
    """Settings of a LoRA adapter (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

    rank: int = Field(default=16, ge=1)
    """Columns of A and rows of B."""
    alpha: float = Field(default=32.0, gt=0)
    """The adapter counts alpha / rank times."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that is left out at random while training."""
    use_rslora: bool = False
    """Count the adapter alpha / sqrt(rank) times (Kalajdzievski 2023): larger ranks learn more."""
    use_dora: bool = False
    """Train direction and length of each column apart (DoRA, Liu et al. 2024); slower."""
    target_modules: list[str] | None = Field(default=None, min_length=1)
    """Names of the layers that get an adapter. None: all linear layers but lm_head."""
    grown_rows: Literal["train", "freeze"] = "train"
    """What happens to the rows that `grow` gave the model, in embeddings and lm_head."""
    first_grown_row: int | None = Field(default=None, ge=0)
    """Where the grown rows start. None: what the model's hanlin.json says; without that, none."""


def grown_ids(lora: Lora, manifest: Mapping[str, object], *, rows: int) -> list[int]:
    """Return the ids whose rows are trained beside the adapter.

    Args:
        lora: the settings.
        manifest: the model's hanlin.json; `base_vocab_size` is where `grow` started.
        rows: entries of the tokenizer.

    Raises:
        ConfigError: the model has no such row.
    """
    first = lora.first_grown_row
    if first is not None and first >= rows:
        raise ConfigError(
            f"lora.first_grown_row is {first} but the tokenizer has {rows} entries",
            fix=f"give a number below {rows}, or leave the key out",
        )
    if first is None:
        first = int(str(manifest.get("base_vocab_size", rows)))
    return list(range(first, rows)) if lora.grown_rows == "train" else []


def add_lora(model: PreTrainedModel, lora: Lora, *, ids: Sequence[int], seed: int) -> PeftModel:
    """Return the model with a new adapter, everything else frozen.

    Args:
        model: the base, changed in place.
        lora: the settings.
        ids: rows of embeddings and lm_head to train as well.
        seed: of the random start of A; B starts at zero.

    Raises:
        ConfigError: the model has no layer of a given name.
    """
    import torch

    peft = require("peft", extra="train", purpose="finetuning with an adapter")
    tied = bool(model.config.tie_word_embeddings)
    rows = list(ids) if tied else {"embed_tokens": list(ids), "lm_head": list(ids)}
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        target_modules=lora.target_modules or "all-linear",
        trainable_token_indices=rows if ids else None,
    )
    with torch.random.fork_rng(devices=[]), quiet_peft():
        torch.manual_seed(seed)
        try:
            return peft.get_peft_model(model, config)
        except ValueError as error:
            if "not found in the base model" not in str(error):
                raise
            raise ConfigError(
                f"lora.target_modules {lora.target_modules}: the model has no such layer",
                why=str(error).splitlines()[0],
                fix="name layers such as q_proj, v_proj, or leave the key out for all of them",
            ) from error


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Hide a warning that is not for users.

    peft 0.21 reads `is_gradient_checkpointing`, which transformers 5.23 renamed. It can go with a
    peft that knows the new name.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
        yield


def save_adapter(
    model: PeftModel, folder: Path, *, ids: Sequence[int], base: Path, base_name: str | None
) -> None:
    """Write an adapter folder in PEFT's layout, read it back, and compare.

    PEFT writes sets in the order of this process's hashes and the base's path on this machine; both
    are mended, so that equal training gives equal bytes.

    Args:
        model: the trained model.
        folder: where it goes; whatever is there is replaced.
        ids: rows that were trained beside the adapter.
        base: folder of the model that it was trained on.
        base_name: hub id of the base; None for a local one.

    Raises:
        StageFailedError: the file is not what was trained, nothing was learned, or a row of the
            base changed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    config = read_json(folder / CONFIG)
    for key, value in config.items():
        if isinstance(value, list) and key != "trainable_token_indices":
            config[key] = sorted(value)
    config["base_model_name_or_path"] = base_name
    write_json(folder / CONFIG, dict(sorted(config.items())))
    for file in list_files(folder):
        if file.name not in (CONFIG, WEIGHTS):  # PEFT's model card: a template with that path
            file.unlink()
    check_saved(model, folder, ids=ids, base=base)
