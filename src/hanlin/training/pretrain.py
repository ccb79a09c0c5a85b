"""Stage `pretrain`: continue to train all weights of a model on a token store.

hanlin pretrain --model base --store store --out model
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.stage import Estimate, Stage, StageContext
from hanlin.training.estimates import estimate_training, info_of
from hanlin.training.settings import ContinuedConfig


class Config(ContinuedConfig):
    """Config of the stage `pretrain`."""

    model: ModelPath
    """The model to go on with: a folder or a hub id."""
    store: InputPath
    """The token store that `prepare-corpus` made with the model's tokenizer."""


def run(config: Config, context: StageContext) -> None:
    """Train and write `model`; after a kill, go on from the last checkpoint."""
    from hanlin.core import ranks
    from hanlin.models.load import load_pair, model_folder
    from hanlin.models.manifest import read_manifest
    from hanlin.models.save import save_model
    from hanlin.training.fit import fit
    from hanlin.training.initial import load_weights
    from hanlin.training.outcome import carried, finish, is_finished

    if is_finished(context.out, "model"):
        return
    with ranks.together(config.processes):
        model, tokenizer = load_pair(config.model)
        if config.continue_from is not None:
            load_weights(model, Path(config.continue_from), tokenizer=tokenizer)
        fit(model, tokenizer, store=config.store, config=config, context=context)
        if ranks.is_first():
            kept = carried(read_manifest(model_folder(config.model)))
            finish(context.out, "model", partial(save_model, model, tokenizer, **kept))


def estimate(config: Config) -> Estimate:
    """Estimate from the model's shape, where it is known already."""
    info = info_of(config.model)
    return Estimate() if info is None else estimate_training(info, config)


STAGE = Stage(
    summary="Continue pretraining on a token store, packed without contamination.",
    config=Config,
    run=run,
    outputs=lambda config: config.outputs("model"),
    estimate=estimate,
)
