"""Does a merged checkpoint compute what base and adapter computed together?

Shapes: T tokens of a probe, V entries of the vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import StageFailedError
from hanlin.core.extras import require
from hanlin.models.load import load_model

if TYPE_CHECKING:
    import torch

    from hanlin.tokenization.load import Tokenizer

TOLERANCE = 1e-4  # of the largest logit; sums in another order differ by about 1e-6 of it
TEXTS = (
    "The old bridge crosses the river; who built it, and in which year?",
    "谁写了这本书？作者出生在北方的一座小城。",
    "A 混合 sentence：ＡＢＣ１２３, 3.14 and 🙂 — the end。",
)


@dataclass(frozen=True)
class LogitCheck:
    """What the comparison found.

    Attributes:
        max_difference: largest absolute difference of a logit, merged against base with adapter.
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


def probe_prompts(tokenizer: Tokenizer, prompt: dict[str, Any] | None) -> list[list[int]]:
    """Return token ids to compare on: the probe conversation of a manifest, and fixed texts."""
    begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    stored = [list(prompt["probe_ids"])] if prompt and prompt.get("probe_ids") else []
    return stored + [begin + tokenizer.encode(text, at_start=True) for text in TEXTS]


def compare_logits(
    base: Path, adapter: Path, merged: Path, *, probes: Sequence[Sequence[int]], dtype: str
) -> LogitCheck:
    """Compare PEFT's adapter on its base with the merged checkpoint, in float32, on the CPU.

    Holds one model in memory at a time.

    Args:
        base: folder of the base model.
        adapter: folder of the adapter.
        merged: folder of the merged model.
        probes: token ids.
        dtype: torch name of the type that merged weights were rounded to.
    """
    wanted, rounded = _adapter_logits(base, adapter, probes, dtype=dtype)
    found = _logits(load_model(merged), probes)
    largest = max(float(logits_TV.abs().max()) for logits_TV in wanted)
    rounding = _max_difference(wanted, rounded)
    return LogitCheck(
        max_difference=_max_difference(wanted, found),
        rounding_difference=rounding,
        tolerance=TOLERANCE * max(1.0, largest) + 2 * rounding,
        probes=len(probes),
    )


def require_same(check: LogitCheck, *, base: Path, adapter: Path) -> None:
    """Refuse a merge that changed what the model computes.

    Raises:
        StageFailedError: the difference is above the tolerance.
    """
    if check.is_ok:
        return
    raise StageFailedError(
        f"the merged model does not compute what {adapter} on {base} computes: "
        f"logits differ by up to {check.max_difference:.3g}",
        why=f"at most {check.tolerance:.3g} can come from rounding",
        fix="merge with peft (PeftModel.merge_and_unload), and report this adapter's "
        "adapter_config.json as a bug",
    )


def _adapter_logits(
    base: Path, adapter: Path, probes: Sequence[Sequence[int]], *, dtype: str
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return logits of the unmerged adapter, and of peft's own merge rounded to `dtype`."""
    peft = require("peft", extra="train", purpose="checking a merged model")
    torch = require("torch", extra="train", purpose="checking a merged model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers' own, about its own names
        model = peft.PeftModel.from_pretrained(load_model(base), str(adapter)).eval()
        wanted = _logits(model, probes)
        if dtype in ("float32", "float64"):
            return wanted, wanted
        merged = model.merge_and_unload()
    for parameter in merged.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype)).float()
    return wanted, _logits(merged, probes)


def _logits(model: Any, probes: Sequence[Sequence[int]]) -> list[torch.Tensor]:  # noqa: ANN401
    import torch

    longest = model.config.max_position_embeddings
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([ids[:longest]])).logits[0].float() for ids in probes]


def _max_difference(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    import torch

    pairs = zip(left, right, strict=True)
    return float(torch.stack([(a_TV - b_TV).abs().max() for a_TV, b_TV in pairs]).max())
