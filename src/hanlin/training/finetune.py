"""Stage `finetune`: tune a model on conversations, all weights or a LoRA adapter.

hanlin finetune --model model --store chat-store --method lora --out adapter
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.stage import Estimate, Outputs, Stage, StageContext
from hanlin.training.adapters import Lora
from hanlin.training.estimates import estimate_training, info_of
from hanlin.training.methods import Method
from hanlin.training.settings import STATE, ContinuedConfig

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer
    from hanlin.training.tuned import Tuned


class Config(ContinuedConfig):
    """Config of the stage `finetune`."""

    model: ModelPath
    """The model to tune: a folder or a hub id."""
    store: InputPath
    """The token store that `prepare-chat` made with the model's tokenizer."""
    method: Method = "lora"
    """Train an adapter beside frozen weights ("lora"), the frozen ones in 8 bits ("int8") or in 4
    ("qlora"); or train all weights ("full")."""
    lora: Lora = Lora()
    """The adapter, where the method has one."""
    init_from: InputPath | None = None
    """An adapter whose weights this one starts with; what `lora` leaves out is taken from it. For
    a new field or more data: mix old data in (`replay`) and probe both."""
    try_answers: int = Field(default=4, ge=0)
    """Trained questions that the tuned model is asked at the end; answers that do not end with an
    end token are warned of."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.init_from is not None and self.continue_from is not None:
            raise ValueError(
                "init_from and continue_from are both set: the first starts a new optimizer, the "
                "second keeps the old one; delete one of them"
            )
        if self.sharding.zero == 3 and self.method in ("int8", "qlora"):
            raise ValueError(
                f"sharding.zero 3 shares the weights, and those of method {self.method} are "
                "quantized: set sharding.zero to 2, or method to lora"
            )
        if self.init_from is not None and self.method == "full":
            raise ValueError(
                "init_from names an adapter, and the method is full: merge the adapter into the "
                "model, or take another method"
            )
        return self


def run(config: Config, context: StageContext) -> None:
    """Train and write `adapter` or `model`; after a kill, go on from the last checkpoint."""
    from hanlin.core import ranks
    from hanlin.training.fit import fit
    from hanlin.training.outcome import finish, is_finished
    from hanlin.training.tuned import open_tuned, write_tuned

    output = "model" if config.method == "full" else "adapter"
    if is_finished(context.out, output):
        return
    with ranks.together(config.processes):
        tuned = open_tuned(config, context, start=config.continue_from or config.init_from)
        prompt = _prompt_of(config, tuned.tokenizer)
        fit(tuned.model, tuned.tokenizer, store=config.store, config=config, context=context)
        if ranks.is_first():
            _try_answers(config, tuned, context)
            finish(context.out, output, partial(write_tuned, config, tuned, prompt))


def _try_answers(config: Config, tuned: Tuned, context: StageContext) -> None:
    """Ask the tuned model trained questions; a kept state learns which base it belongs to."""
    from hanlin.data.store import TokenStore
    from hanlin.models.load import model_folder
    from hanlin.models.manifest import weights_sha256, write_manifest
    from hanlin.training.answers import check_answers
    from hanlin.training.trainer import causal_model

    if config.keep_state and config.method != "full":
        base = {"weights_sha256": weights_sha256(model_folder(config.model))}
        write_manifest(context.out / STATE, base=base)
    store, count = TokenStore.open(config.store), config.try_answers
    model = causal_model(tuned.model)
    check_answers(model, tuned.tokenizer, store=store, count=count, context=context)


def _prompt_of(config: Config, tokenizer: Tokenizer) -> Mapping[str, Any]:
    """Return the store's prompt record, after checking that it still gives the same ids.

    Raises:
        InputError: the store is not of conversations, or its prompt gives other ids now.
    """
    from hanlin.core.errors import InputError
    from hanlin.data.store import TokenStore
    from hanlin.prompts.probe import check_probe

    store = TokenStore.open(config.store)
    if not store.has_mask:
        raise InputError(
            f"{config.store} holds texts, not conversations",
            why="finetuning learns the assistant's turns only, and this store has no mask for them",
            fix="hanlin data prepare chat --config FILE --out DIR, or hanlin pretrain for texts",
        )
    store.check_tokenizer(tokenizer.sha256, where=str(config.model))
    check_probe(store.header, tokenizer, where=f"{config.store}/store.json")
    prompt: Mapping[str, Any] = store.header["prompt"]
    return prompt


def outputs(config: Config) -> Outputs:
    """Return what the method leaves."""
    return config.outputs("model" if config.method == "full" else "adapter")


def estimate(config: Config) -> Estimate:
    """Estimate from the model's shape, where it is known already."""
    info = info_of(config.model)
    return Estimate() if info is None else estimate_training(info, config)


STAGE = Stage(
    summary="Tune on conversations, full or LoRA, the loss on assistant turns only.",
    config=Config,
    run=run,
    outputs=outputs,
    estimate=estimate,
)
