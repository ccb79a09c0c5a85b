"""Does a merged checkpoint compute what base and adapters computed together?

Shapes: T tokens of a probe, V entries of the vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hanlin.core.environment import available_memory_bytes
from hanlin.core.errors import StageFailedError
from hanlin.core.extras import require
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.load import load_model
from hanlin.models.tensors import DTYPES

if TYPE_CHECKING:
    import torch

    from hanlin.tokenization.load import Tokenizer
    from hanlin.weights.merge.inputs import MergeInputs
    from hanlin.weights.merge.plan import Weighted

TOLERANCE = 1e-4  # of the largest logit; sums in another order differ by about 1e-6 of it
PROCESS_BYTES = 1_500_000_000  # torch, transformers, peft, logits, one matrix while it is cast
TEXTS = (
    "The old bridge crosses the river; who built it, and in which year?",
    "谁写了这本书？作者出生在北方的一座小城。",
    "A 混合 sentence：ＡＢＣ１２３, 3.14 and 🙂 — the end。",
)


@dataclass(frozen=True)
class LogitCheck:
    """What the comparison found.

    Attributes:
        max_difference: largest absolute difference of a logit, merged against base with adapters.
        rounding_difference: the part of it that rounding to the checkpoint's type alone makes
            (0 for float32), measured with peft's own merge.
        tolerance: what max_difference may be at most.
        probes: number of probe texts.
    """

    max_difference: float
    rounding_difference: float
    tolerance: float
    probes: int

    @property
    def is_ok(self) -> bool:
        """Tell whether the merged model computes the same; NaN is never the same."""
        return self.max_difference <= self.tolerance

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


def check_merged(
    inputs: MergeInputs, merged: Path, *, mode: bool | Literal["auto"]
) -> LogitCheck | str:
    """Compare logits where it was asked for or there is memory for it.

    Args:
        inputs: what was merged.
        merged: the merged model's folder.
        mode: True always, False never, "auto" if the model in float32 fits into free memory.

    Returns:
        What was found, or why nothing was compared.

    Raises:
        StageFailedError: the merged model computes something else.
    """
    if mode is False:
        return "it was turned off"
    if (beyond := _beyond_peft(inputs)) is not None:
        return f"peft, which it is compared with, cannot {beyond}"
    needed, free = _needed_bytes(inputs), available_memory_bytes()
    if mode == "auto" and needed > free:
        return f"it needs {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
    check = compare_logits(
        inputs, merged, probes=probe_prompts(inputs.tokenizer, inputs.manifest.get("prompt"))
    )
    require_same(check, inputs)
    return check


def _beyond_peft(inputs: MergeInputs) -> str | None:
    """Return what peft cannot do of this merge."""
    for item in inputs.adapters:
        names = item.adapter.tensors.specs
        is_low_rank = all(".lora_" in name and ".lora_magnitude" not in name for name in names)
        if item.weight != 1 and not is_low_rank:
            return f"count {item.adapter.folder} {item.weight:g} times: it is not all low-rank"
    if inputs.is_untied and len(inputs.adapters) > 1:
        return "put several adapters on a tied model that one of them takes apart"
    return None


def _needed_bytes(inputs: MergeInputs) -> int:
    sizes = [item.spec.size_bytes // DTYPES[item.spec.dtype][1] for item in inputs.plan.values()]
    return 4 * sum(sizes) + PROCESS_BYTES


def probe_prompts(tokenizer: Tokenizer, prompt: dict[str, Any] | None) -> list[list[int]]:
    """Return token ids to compare on: the probe conversation of a manifest, and fixed texts."""
    begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    stored = [list(prompt["probe_ids"])] if prompt and prompt.get("probe_ids") else []
    return stored + [begin + tokenizer.encode(text, at_start=True) for text in TEXTS]


def compare_logits(
    inputs: MergeInputs, merged: Path, *, probes: Sequence[Sequence[int]]
) -> LogitCheck:
    """Compare PEFT's adapters on their base with the merged checkpoint, in float32, on the CPU.

    Holds one model in memory at a time.

    Args:
        inputs: base and adapters.
        merged: folder of the merged model.
        probes: token ids.
    """
    wanted, rounded = _adapter_logits(inputs, probes)
    found = _logits(load_model(merged), probes)
    largest = max(float(logits_TV.abs().max()) for logits_TV in wanted)
    rounding = _max_difference(wanted, rounded)
    return LogitCheck(
        max_difference=_max_difference(wanted, found),
        rounding_difference=rounding,
        tolerance=TOLERANCE * max(1.0, largest) + 2 * rounding,
        probes=len(probes),
    )


def require_same(check: LogitCheck, inputs: MergeInputs) -> None:
    """Refuse a merge that changed what the model computes.

    Raises:
        StageFailedError: the difference is above the tolerance.
    """
    if check.is_ok:
        return
    adapters = ", ".join(str(item.adapter.folder) for item in inputs.adapters)
    raise StageFailedError(
        f"the merged model does not compute what {adapters} on {inputs.base} computes: "
        f"logits differ by up to {check.max_difference:.3g}",
        why=f"at most {check.tolerance:.3g} can come from rounding",
        fix="merge with peft (PeftModel.merge_and_unload), and report this adapter's "
        "adapter_config.json as a bug",
    )


def _adapter_logits(
    inputs: MergeInputs, probes: Sequence[Sequence[int]]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return logits of the unmerged adapters, and of peft's own merge rounded to the base's type.

    Of a chain, all sums but the last are merged by peft.
    """
    torch = require("torch", extra="train", purpose="checking a merged model")
    model: Any = _float_base(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers' own, about its own names
        for together in inputs.chain[:-1]:
            model = _with_adapters(model, together).merge_and_unload()
        model = _with_adapters(model, inputs.chain[-1]).eval()
        wanted = _logits(model, probes)
        narrowest = _narrowest(inputs)
        if narrowest in ("F32", "F64"):
            return wanted, wanted
        merged = model.merge_and_unload()
    for parameter in merged.parameters():
        parameter.data = parameter.data.to(getattr(torch, DTYPES[narrowest][0])).float()
    return wanted, _logits(merged, probes)


def _narrowest(inputs: MergeInputs) -> str:
    """Return the type with the fewest bytes among the tensors that were changed."""
    changed = {item.spec.dtype for item in inputs.plan.values() if item.is_changed}
    return min(changed, key=lambda name: (DTYPES[name][1], name))


def _float_base(inputs: MergeInputs) -> Any:  # noqa: ANN401 - a PreTrainedModel
    """Load the base in float32, with the rows and the two matrices that the adapters bring."""
    if not inputs.is_dequantized and any(inputs.base.glob("*.safetensors")):
        model: Any = load_model(inputs.base)
    else:
        model = _from_tensors(inputs)
    rows = inputs.plan[EMBEDDINGS].spec.shape[0]
    if rows > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows, mean_resizing=False)
    if inputs.is_untied:  # peft would merge into both at once
        import torch

        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def _from_tensors(inputs: MergeInputs) -> Any:  # noqa: ANN401 - a PreTrainedModel
    """Make a model of tensors that transformers would not load: pickled or quantized ones."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {k: v for k, v in inputs.config.items() if k != "quantization_config"}
    config = AutoConfig.for_model(**settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    places = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in places.items():
            source = EMBEDDINGS if name == LM_HEAD and name not in inputs.source.specs else name
            start = 0
            for block in inputs.source.blocks(source):
                parameter[start : start + len(block)] = block
                start += len(block)
    return model.eval()


def _with_adapters(model: Any, together: Sequence[Weighted]) -> Any:  # noqa: ANN401 - of peft
    """Put the adapters of one sum on a model, each with its weight."""
    peft = require("peft", extra="train", purpose="checking a merged model")
    names = [f"adapter_{number}" for number in range(len(together))]
    first, *others = together
    model = peft.PeftModel.from_pretrained(model, str(first.adapter.folder), adapter_name=names[0])
    for name, item in zip(names[1:], others, strict=True):
        model.load_adapter(str(item.adapter.folder), adapter_name=name)
    model.base_model.set_adapter(names)
    for module in model.modules():
        scaling = getattr(module, "scaling", None)
        for name, item in zip(names, together, strict=True):
            if isinstance(scaling, dict) and name in scaling:
                scaling[name] *= item.weight
    return model


def _logits(model: Any, probes: Sequence[Sequence[int]]) -> list[torch.Tensor]:  # noqa: ANN401
    import torch

    longest = model.config.max_position_embeddings
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([ids[:longest]])).logits[0].float() for ids in probes]


def _max_difference(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    import torch

    pairs = zip(left, right, strict=True)
    return float(torch.stack([(a_TV - b_TV).abs().max() for a_TV, b_TV in pairs]).max())
