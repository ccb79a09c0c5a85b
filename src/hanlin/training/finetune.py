"""Stage `finetune`: tune a model on conversations, all weights or a LoRA adapter.

hanlin finetune --model model --store chat-store --method lora --out adapter
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.stage import Estimate, Outputs, Stage, StageContext
from hanlin.training.adapters import Lora
from hanlin.training.estimates import estimate_training, info_of
from hanlin.training.methods import Method
from hanlin.training.settings import TrainingConfig

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer


class Config(TrainingConfig):
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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.init_from is not None and self.method == "full":
            raise ValueError(
                "init_from names an adapter, and the method is full: merge the adapter into the "
                "model, or take another method"
            )
        return self


def run(config: Config, context: StageContext) -> None:
    """Train and write `adapter` or `model`; after a kill, go on from the last checkpoint."""
    from hanlin.core import ranks
    from hanlin.models.load import model_folder
    from hanlin.models.manifest import read_manifest
    from hanlin.training.adapters import add_lora, grown_ids
    from hanlin.training.arguments import precision_of
    from hanlin.training.fit import fit
    from hanlin.training.initial import load_adapter, lora_like
    from hanlin.training.methods import load_for
    from hanlin.training.outcome import carried, finish, is_finished

    output = "model" if config.method == "full" else "adapter"
    if is_finished(context.out, output):
        return
    with ranks.together(config.processes):
        precision = precision_of(config.schedule)
        model, tokenizer = load_for(config.method, config.model, precision=precision)
        manifest = read_manifest(model_folder(config.model))
        fields = {**carried(manifest), "prompt": _prompt_of(config, tokenizer)}
        ids: list[int] = []
        if config.method != "full":
            start = None if config.init_from is None else Path(config.init_from)
            lora = config.lora if start is None else lora_like(start, config.lora)
            ids = grown_ids(lora, manifest, rows=tokenizer.vocab_size)
            model = add_lora(model, lora, ids=ids, seed=context.stream("lora"))
            if start is not None:
                load_adapter(model, start, base=model_folder(config.model), tokenizer=tokenizer)
        where = str(config.model)
        fit(model, tokenizer, store=config.store, config=config, context=context, where=where)
        if ranks.is_first():
            finish(context.out, output, partial(_write, config, model, tokenizer, fields, ids))


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


def _write(
    config: Config,
    model: Any,  # noqa: ANN401 - a PeftModel or a PreTrainedModel
    tokenizer: Tokenizer,
    fields: Mapping[str, Any],
    ids: Sequence[int],
    folder: Path,
) -> None:
    from hanlin.models.load import model_folder
    from hanlin.models.manifest import weights_sha256, write_manifest
    from hanlin.models.save import disk_errors, save_model, write_stop_ids
    from hanlin.prompts.encode import stop_ids
    from hanlin.prompts.formats import get_format
    from hanlin.prompts.jinja import checked_chat_template
    from hanlin.training.adapters import save_adapter

    if config.method == "full":
        save_model(model, tokenizer, folder, **fields)
        format = get_format(fields["prompt"]["format"])
        tokenizer.save(folder, chat_template=checked_chat_template(format, tokenizer))
        write_stop_ids(folder, stop_ids(format, tokenizer))
        return
    hub_id = str(config.model) if config.model.is_hub_id else None
    base = model_folder(config.model)
    with disk_errors(folder):
        save_adapter(model, folder, ids=ids, base=base, base_name=hub_id)
    trained_on = {"hub_id": hub_id, "weights_sha256": weights_sha256(base)}
    write_manifest(folder, **{**fields, "base": trained_on, "tokenizer_sha256": tokenizer.sha256})


def outputs(config: Config) -> Outputs:
    """Return what the method leaves."""
    if config.method != "full":
        return {"adapter": ("adapter", "adapter")}
    return {"model": ("model", "model")}


def estimate(config: Config) -> Estimate:
    """Estimate from the model's shape, where it is known already."""
    info = info_of(config.model)
    if info is None:
        return Estimate()
    return estimate_training(info, config.schedule, method=config.method, rank=config.lora.rank)


STAGE = Stage(
    summary="Tune on conversations, full or LoRA, the loss on assistant turns only.",
    config=Config,
    run=run,
    outputs=outputs,
    estimate=estimate,
)
