"""How does training start from weights that were trained before, on other data?

Weights only; optimizer and schedule are new, unless a state is continued (`state`). Adapters of
peft are read whatever wrote them, older ones (`adapter_model.bin`, and `pytorch_model.bin` in a
checkpoint of the Trainer) without running what a pickle may hold; nothing in their folder is
changed or renamed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.extras import require
from hanlin.models.manifest import check_tokenizer, read_manifest, weights_sha256
from hanlin.models.tensors import open_checkpoint
from hanlin.training.adapters import Lora
from hanlin.training.saved_adapter import CONFIG, WEIGHTS
from hanlin.weights.lora_config import read_settings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

    from hanlin.tokenization.load import Tokenizer

FIELDS = {  # of Lora -> of adapter_config.json
    "rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "use_rslora": "use_rslora",
    "use_dora": "use_dora", "target_modules": "target_modules",
}  # fmt: skip
ADAPTER_NAME = re.compile(r"(lora_(?:A|B|embedding_A|embedding_B|magnitude_vector))\.default\b")


def lora_like(folder: Path, lora: Lora) -> Lora:
    """Return the settings of an adapter that is trained on.

    Args:
        folder: the adapter.
        lora: what the config says; what it leaves out follows the adapter.

    Raises:
        ConfigError: the config says something else than the adapter.
        InputError: it is no adapter.
    """
    if not (folder / CONFIG).is_file():  # a checkpoint of an older Trainer: its shapes are compared
        return lora
    settings, values = read_settings(folder), lora.model_dump()
    for name, field in FIELDS.items():
        found = settings.get(field)
        if found is None:
            continue
        found = sorted(found) if isinstance(found, list) else found
        said = sorted(values[name]) if isinstance(values[name], list) else values[name]
        if name in lora.model_fields_set and name != "dropout" and said != found:
            raise ConfigError(
                f"lora.{name} is {said!r}, but the adapter {folder} has {found!r}",
                why="its matrices have that shape and scale",
                fix=f"delete lora.{name}, or merge the adapter into its base and start a new one",
            )
        if name not in lora.model_fields_set:
            values[name] = found
    return Lora.model_validate(values)


def load_adapter(model: PeftModel, folder: Path, *, base: Path, tokenizer: Tokenizer) -> None:
    """Put an adapter's weights into a model with a new adapter of the same settings.

    Args:
        model: the model, changed in place.
        folder: the adapter.
        base: folder of the model below the new adapter.
        tokenizer: that model's tokenizer.

    Raises:
        InputError: it was trained on another base or tokenizer, or its tensors do not fit.
    """
    peft = require("peft", extra="train", purpose="finetuning with an adapter")
    check_tokenizer(folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path)
    _check_base(folder, base)
    found = _tensors(folder)
    wanted = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    _check_names(folder, found, wanted)
    peft.set_peft_model_state_dict(model, found)


def load_weights(model: PreTrainedModel, folder: Path, *, tokenizer: Tokenizer) -> None:
    """Put the weights of a checkpoint into a model of the same shape.

    Args:
        model: the model, changed in place.
        folder: the checkpoint.
        tokenizer: the model's tokenizer.

    Raises:
        InputError: it was trained with another tokenizer, or its tensors do not fit.
    """
    import torch

    check_tokenizer(folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path)
    checkpoint, wanted = open_checkpoint(folder), dict(model.named_parameters())
    _check_names(folder, checkpoint.specs, wanted)
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(checkpoint.read(name))


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    files = (WEIGHTS, "adapter_model.bin", "pytorch_model.bin")
    file = next((folder / name for name in files if (folder / name).is_file()), None)
    if file is None:
        raise InputError(
            f"{folder} holds no adapter weights",
            why=f"an adapter is {files[0]} or, in older ones, {' or '.join(files[1:])}",
            fix="give the folder that peft or the Trainer wrote",
        )
    checkpoint = open_checkpoint(file)
    return {ADAPTER_NAME.sub(r"\1", name): checkpoint.read(name) for name in checkpoint.specs}


def _check_base(folder: Path, base: Path) -> None:
    expected = (read_manifest(folder).get("base") or {}).get("weights_sha256")
    if expected is None or expected == weights_sha256(base):
        return
    raise InputError(
        f"the adapter {folder} was not trained on {base}",
        why=f"its hanlin.json has weights_sha256 {expected[:12]}... of another base",
        fix="give the base that it was trained on as `model`",
    )


def _check_names(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    missing = sorted(wanted.keys() - found.keys())
    unknown = sorted(found.keys() - wanted.keys())
    both = sorted(wanted.keys() & found.keys())
    other = [name for name in both if tuple(wanted[name].shape) != tuple(found[name].shape)]
    if not missing and not unknown and not other:
        return
    first = (missing or unknown or other)[0]
    raise InputError(
        f"{folder} does not fit the model: {len(missing)} tensors are missing, "
        f"{len(unknown)} unknown, {len(other)} of another shape; the first is {first!r}",
        why="it was trained on other layers, on other grown rows, or on another model",
        fix="give the model it was trained on; for an adapter lora.grown_rows as it was then",
    )
