"""How do processes share weights, gradients and moments, and how do the weights become whole again?

DeepSpeed's ZeRO (Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054) shares out the moments
(1), the gradients too (2), the weights too (3); its config is made here from the stage's own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from hanlin.core.config import StrictModel
from hanlin.core.errors import StageFailedError
from hanlin.core.extras import require

if TYPE_CHECKING:
    from hanlin.training.schedule import Schedule

log = logging.getLogger(__name__)
Shapes = Mapping[str, tuple[int, ...]]


class Sharding(StrictModel):
    """What processes share out among them, instead of holding a copy each."""

    zero: Literal[0, 1, 2, 3] = 0
    """DeepSpeed's ZeRO: 1 shares the optimizer's moments, 2 the gradients too, 3 the weights too; 0
    shares nothing (DDP)."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What lies in the processors' memory instead of the GPUs': the moments and the update
    ("optimizer"), or the weights as well ("all", with zero 3)."""

    @model_validator(mode="after")
    def _check(self) -> Sharding:
        if self.offload != "none" and not self.zero:
            raise ValueError(f"offload {self.offload} needs zero 1, 2 or 3: set zero")
        if self.offload == "all" and self.zero != 3:
            raise ValueError("offload all moves the weights, which zero 3 alone shares: set zero 3")
        return self


def deepspeed_config(sharding: Sharding, schedule: Schedule, *, precision: str, each: int) -> Any:  # noqa: ANN401
    """Return the settings that DeepSpeed wants as a JSON document.

    Args:
        sharding: what is shared.
        schedule: the portions.
        precision: "fp32", "bf16" or "fp16".
        each: micro-batches of a step in each process.
    """
    zero: dict[str, Any] = {"stage": sharding.zero}
    if sharding.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if sharding.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    if sharding.zero == 3:  # else a checkpoint holds tensors without elements
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    return {
        "train_micro_batch_size_per_gpu": schedule.micro_batch_size,
        "gradient_accumulation_steps": each,
        "gradient_clipping": schedule.max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # its own one is compiled when it is first used
        "bf16": {"enabled": precision == "bf16"},
        "fp16": {"enabled": precision == "fp16"},
        "steps_per_print": 10**9,
    }


def shapes_of(model: Any) -> Shapes:  # noqa: ANN401 - a PeftModel or a PreTrainedModel
    """Return the shapes of what a checkpoint of a model must hold, before anything is shared."""
    if hasattr(model, "peft_config"):
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(model, save_embedding_layers=False)
    else:
        found = dict(model.named_parameters())
    return {name: tuple(tensor.shape) for name, tensor in found.items()}


def make_whole(model: Any) -> None:  # noqa: ANN401
    """Give each process all weights of a model whose weights were shared, on the CPU.

    Every process calls it. Nothing happens to weights that are whole.
    """
    import torch
    from torch.distributed.tensor import DTensor

    was_shared = False
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if hasattr(parameter, "ds_id"):
                deepspeed = require("deepspeed", extra="cluster", purpose="sharding.zero 3")
                with deepspeed.zero.GatheredParameters([parameter]):
                    whole = parameter.detach().cpu().clone()
            elif isinstance(parameter, DTensor):
                whole = parameter.full_tensor().detach().cpu()
            else:
                continue
            was_shared = True
            setattr(module, name, torch.nn.Parameter(whole, requires_grad=parameter.requires_grad))
    if was_shared and hasattr(model, "tie_weights"):
        model.tie_weights()


def check_shapes(found: Shapes, wanted: Shapes, *, where: str) -> None:
    """Refuse what was saved with tensors missing, or without their elements.

    Raises:
        StageFailedError: a tensor is missing or of another shape.
    """
    wrong = [name for name in wanted if tuple(found.get(name, ())) != tuple(wanted[name])]
    if not wrong:
        return
    first = wrong[0]
    raise StageFailedError(
        f"{where} does not hold the whole model: {len(wrong)} of {len(wanted)} tensors are missing "
        f"or cut, the first is {first!r}: {found.get(first, 'not there')} instead of "
        f"{wanted[first]}",
        why="the processes share the weights, and these were not put together",
        fix="repeat the command; if it fails again, use sharding.zero 2 and report it",
    )


def warn_of_fsdp(arguments: Any) -> bool:  # noqa: ANN401 - a TrainingArguments
    """Say that FSDP does nothing without a GPU: accelerate then runs plain DDP, in silence."""
    import torch

    asked = bool(getattr(arguments, "fsdp", None))
    if not asked or torch.cuda.is_available():
        return False
    log.warning(
        "trainer.fsdp is set, but torch sees no GPU: accelerate then shares nothing and every "
        "process holds the whole model (plain DDP); use sharding.zero, which works without one"
    )
    return True
