"""Which trainings does a recipe hold, of what shape and length? Read from the file alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlin.core.config import InputPath
from hanlin.core.errors import HanlinError
from hanlin.core.files import size_bytes
from hanlin.models.info import ModelInfo, describe, read_info
from hanlin.models.shapes import known_shape
from hanlin.pipeline.forecast import Job
from hanlin.pipeline.recipe import Recipe, RecipeStage
from hanlin.training.estimates import training_of

TRAININGS = ("base", "pretrain", "finetune", "dpo")
BYTES_PER_TOKEN = 4  # of text in UTF-8, for a guess of a source's tokens: English 4, Chinese 3 to 5


def jobs_of(recipe: Recipe, *, only: Sequence[str] | None = None) -> list[Job]:
    """Return the trainings whose model's shape is known, in the order of the recipe.

    Args:
        recipe: the validated recipe.
        only: ids of the stages that count; None: all.
    """
    book = _Book({stage.id: stage for stage in recipe.stages}, recipe.source.folder)
    jobs = []
    for stage in recipe.stages:
        if stage.kind in TRAININGS and (only is None or stage.id in only):
            info = book.shape(stage)
            if info is not None:
                jobs.append(_job(stage, info, book))
    return jobs


def _job(stage: RecipeStage, info: ModelInfo, book: _Book) -> Job:
    config: Any = stage.config
    schedule = config.schedule
    training = training_of(config, info, grown_rows=book.grown_rows(stage), auto="bf16")
    rows = schedule.rows_per_step * config.sequences_per_row
    if schedule.steps is not None:
        tokens: int | None = schedule.steps * rows * schedule.seq_len
    else:
        known = book.tokens(stage)
        tokens = None if known is None else round(known * (schedule.epochs or 1.0))
    return Job(stage.id, info, training, rows, tokens)


class _Book:
    """Follows references from stage to stage."""

    def __init__(self, stages: dict[str, RecipeStage], folder: Path) -> None:
        self.stages, self.folder = stages, folder

    def shape(self, stage: RecipeStage) -> ModelInfo | None:
        """Return the shape of the model that a stage trains or makes."""
        config: Any = stage.config
        if stage.kind == "base":
            return _architecture(config)
        source = getattr(config, "model", None) or getattr(config, "base", None)
        info = None if source is None else self._of_path(source)
        if info is not None and stage.kind == "grow":
            rows = info.vocab_size + self._added(config.tokenizer)
            rows += -rows % config.pad_to_multiple
            info = _with_rows(info, rows)
        return info

    def tokens(self, stage: RecipeStage) -> int | None:
        """Guess the tokens of an epoch from the sizes of the store's sources."""
        config: Any = stage.config
        if stage.kind == "base":
            return self._text_tokens(config.corpus)
        if stage.kind == "dpo":
            return self._text_tokens(config.preferences)
        maker = self._maker(config.store)
        if maker is None:
            return None
        return self._text_tokens([source.path for source in maker.config.sources])  # type: ignore[attr-defined]

    def grown_rows(self, stage: RecipeStage) -> int:
        """Return the rows that a `grow` upstream of a stage's model added."""
        source = getattr(stage.config, "model", None)
        while source is not None and (maker := self._maker(source)) is not None:
            if maker.kind == "grow":
                return self._added(maker.config.tokenizer)  # type: ignore[attr-defined]
            source = getattr(maker.config, "model", None)
        return 0

    def _of_path(self, path: InputPath) -> ModelInfo | None:
        maker = self._maker(path)
        if maker is not None:
            return self.shape(maker)
        local = self.folder / Path(path).expanduser()
        if (local / "config.json").is_file():
            try:
                return read_info(local)
            except HanlinError:  # the stage itself says what is wrong
                return None
        return known_shape(str(path))

    def _maker(self, path: InputPath) -> RecipeStage | None:
        return self.stages.get(path[1:].split("/")[0]) if path.is_reference else None

    def _added(self, tokenizer: InputPath) -> int:
        maker = self._maker(tokenizer)
        config: Any = maker.config if maker else None
        return 0 if config is None else (config.add or 0) + len(config.special)

    def _text_tokens(self, paths: Sequence[InputPath]) -> int | None:
        known = 0
        for path in paths:
            local = self.folder / Path(path).expanduser()
            if path.is_reference or not local.exists():
                return None
            known += size_bytes(local)
        return known // BYTES_PER_TOKEN


def _architecture(config: Any) -> ModelInfo:  # noqa: ANN401 - training.base.Config
    shape = config.architecture
    return describe(
        {
            "model_type": "llama",
            "num_hidden_layers": shape.layers,
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.feed_forward_size,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "vocab_size": config.vocab_size or 2000,
            "tie_word_embeddings": shape.tie_embeddings,
            "max_position_embeddings": shape.max_length,
        },
        name="architecture",
    )


def _with_rows(info: ModelInfo, rows: int) -> ModelInfo:
    added = (rows - info.vocab_size) * info.hidden_size * (1 if info.is_tied else 2)
    return replace(
        info,
        vocab_size=rows,
        parameters=info.parameters + added,
        embedding_parameters=info.embedding_parameters + added,
    )
