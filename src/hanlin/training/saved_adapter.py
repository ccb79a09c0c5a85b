"""Is a saved adapter what was trained, all of it, and was nothing else trained?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import StageFailedError
from hanlin.core.extras import require
from hanlin.core.files import read_json
from hanlin.models.tensors import open_checkpoint
from hanlin.training.sharding import Shapes, check_shapes

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX, DELTA = "base_model.model.", ".token_adapter.trainable_tokens_delta"
EMBEDDING, HEAD = "model.embed_tokens", "lm_head"
WRAPPED = re.compile(r"(\.token_adapter)?\.base_layer(?=\.weight$)")  # what peft puts into a name


def check_saved(model: PeftModel, folder: Path, *, ids: Sequence[int], base: Path) -> None:
    """Read an adapter back and prove that it holds what was trained, and the base what it held.

    Compared are the number, names, shapes and bytes of all tensors, the rows of the grown pieces,
    the size of B, and every row of the base's embeddings and lm_head.

    Args:
        model: the trained model.
        folder: the adapter as it was saved.
        ids: rows that were trained beside the adapter.
        base: folder of the model that the adapter was trained on.

    Raises:
        StageFailedError: something is missing or differs; the message says what.
    """
    from safetensors.torch import load_file

    saved = load_file(str(folder / WEIGHTS))
    _check_bytes(model, saved, folder / WEIGHTS)
    _check_rows(model, saved, folder, ids=ids)
    _check_learned(saved, folder)
    _check_old_rows(model, base)


def check_checkpoint(folder: Path, shapes: Shapes) -> None:
    """Read a checkpoint back: all tensors, whole, and an adapter that has learned something.

    Args:
        folder: the checkpoint, of an adapter or of a model.
        shapes: what it must hold, by name.

    Raises:
        StageFailedError: something is missing or empty, or every B is zero.
    """
    file = folder / WEIGHTS
    saved = open_checkpoint(file if file.is_file() else folder)
    found = {name: tuple(spec.shape) for name, spec in saved.specs.items()}
    check_shapes(found, shapes, where=str(folder))
    if file.is_file():
        bs = [name for name in found if ".lora_B." in name]
        _check_learned({name: saved.read(name) for name in bs}, folder)


def _check_bytes(model: PeftModel, saved: Mapping[str, torch.Tensor], file: Path) -> None:
    peft = require("peft", extra="train", purpose="finetuning with an adapter")
    trained = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    if len(saved) == len(trained) and digest(saved) == digest(trained):
        return
    raise StageFailedError(
        f"{file} is not what was trained",
        why=f"{len(saved)} tensors read back, {len(trained)} trained, digests "
        f"{digest(saved)[:12]} and {digest(trained)[:12]}",
        fix="check the disk, then repeat the same command: the stage goes on",
    )


def _check_rows(
    model: PeftModel, saved: Mapping[str, torch.Tensor], folder: Path, *, ids: Sequence[int]
) -> None:
    """Check that the rows of the grown pieces are there, under their ids, and no others."""
    tables = [EMBEDDING] if model.config.tie_word_embeddings else [EMBEDDING, HEAD]
    wanted = {f"{PREFIX}{table}{DELTA}": len(ids) for table in tables if ids}
    found = {name: len(rows) for name, rows in saved.items() if name.endswith(DELTA)}
    named = read_json(folder / CONFIG).get("trainable_token_indices")
    lists = list(named.values()) if isinstance(named, dict) else [named or []]
    if found == wanted and all(list(rows) == list(ids) for rows in lists):
        return
    raise StageFailedError(
        f"{folder} does not hold the rows of the {len(ids)} grown pieces",
        why=f"expected are {wanted or 'none'}, found {found or 'none'}; {CONFIG} names "
        f"{[len(rows) for rows in lists]} rows",
        fix="repeat the same command; if it fails again, report it with the versions of peft and "
        "transformers",
    )


def _check_learned(saved: Mapping[str, torch.Tensor], folder: Path) -> None:
    norm = sum(float(t.float().norm()) for name, t in saved.items() if ".lora_B." in name)
    if norm > 0:
        return
    raise StageFailedError(
        f"the adapter in {folder} changes nothing: every lora_B is zero",
        why="B starts at zero and no update moved it",
        fix="raise schedule.steps or schedule.learning_rate",
    )


def _check_old_rows(model: PeftModel, base: Path) -> None:
    """Check that no row of the base's two tables changed: what was trained lies beside them."""
    import torch

    files = open_checkpoint(base)
    for full_name, parameter in model.named_parameters():
        name = WRAPPED.sub("", full_name.removeprefix(PREFIX))
        if name not in (f"{EMBEDDING}.weight", f"{HEAD}.weight") or name not in files.specs:
            continue
        start = 0
        for block in files.blocks(name):
            now = parameter.detach()[start : start + len(block)].cpu()
            same = (now == block.to(now.dtype)).all(1)
            if not bool(same.all()):
                row = start + int(torch.argmin(same.to(torch.uint8)))
                raise StageFailedError(
                    f"row {row} of the base's {name!r} changed while the adapter was trained",
                    why=f"it is not what {base} holds; without it, the adapter computes something "
                    "else than was trained",
                    fix="train again; if it fails again, report it with the versions of peft and "
                    "transformers",
                )
            start += len(block)


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return a sha256 over names, types, shapes and bytes."""
    import torch

    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
