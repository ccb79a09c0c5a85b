"""What does `adapter_config.json` say, and is it an adapter that can be merged?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hanlin.core.errors import InputError
from hanlin.core.files import read_json

CONFIG = "adapter_config.json"

# Fields of adapter_config.json that leave the formulas above as they are, or choose among them by
# tensors that are looked at. Any other field that is set may change them: it is refused.
KNOWN = frozenset({
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying",
    "eva_config", "exclude_modules", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "lora_alpha", "lora_bias", "lora_dropout", "megatron_core",
    "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern",
    "revision", "runtime_config", "target_modules", "task_type", "trainable_token_indices",
    "use_dora", "use_rslora", "velora_config",
})  # fmt: skip
PLAIN_INITS = (True, False, None, "gaussian", "orthogonal", "eva")  # others move the base weights


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
    return text


Number = Annotated[float, Field(allow_inf_nan=False)]
Rows = list[Annotated[int, Field(ge=0)]]


class _Settings(BaseModel):
    """The fields that a merge computes with, of the types that peft writes."""

    model_config = ConfigDict(strict=True)

    lora_alpha: Number
    alpha_pattern: dict[Annotated[str, AfterValidator(_pattern)], Number] | None = None
    trainable_token_indices: Rows | dict[str, Rows] | None = None
    use_rslora: bool | None = None
    use_dora: bool | None = None


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of an adapter.

    Raises:
        InputError: they are damaged, or of a kind that cannot be merged.
    """
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise _damaged(folder, f"it is a {type(config).__name__}, not a table of names and values")
    _refuse_unknown_kinds(folder, config)
    try:
        _Settings.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(folder, f"{first['loc'][0]}: {first['msg']}") from error
    return config


def _damaged(folder: Path, why: str) -> InputError:
    return InputError(
        f"{folder / CONFIG} is no adapter's settings",
        why=why,
        fix="copy or download the file again",
    )


def _refuse_unknown_kinds(folder: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise cannot_merge(folder, f"it is of the type {config.get('peft_type')!r}, not LORA")
    if config.get("init_lora_weights") not in PLAIN_INITS:
        how = config["init_lora_weights"]
        raise cannot_merge(folder, f"its start ({how!r}) took a part out of the base weights")
    unknown = sorted(key for key, value in config.items() if key not in KNOWN and value)
    if unknown:
        raise cannot_merge(folder, f"it sets {', '.join(unknown)}, which may change the formula")


def cannot_merge(folder: Path, why: str) -> InputError:
    """Return the error of an adapter that only peft itself can merge."""
    return InputError(
        f"the adapter {folder} cannot be merged",
        why=why,
        fix="merge it with peft (PeftModel.merge_and_unload), or train a plain LoRA adapter",
    )
