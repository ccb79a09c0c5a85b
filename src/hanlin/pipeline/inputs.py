"""What must a user supply to a recipe? The section `inputs`, and references `@inputs/NAME`.

inputs:
  base: {kind: model, path: huggyllama/llama-13b, about: any LLaMA in the hub's layout}
stages:
  tokenizer: {stage: extend-tokenizer, base: "@inputs/base", ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hanlin.core.config import ConfigSource, KeyPath, StrictModel, looks_like_hub_id
from hanlin.core.errors import ConfigError
from hanlin.core.registry import did_you_mean

PREFIX = "@inputs/"
SAMPLE = "hanlin:samples/"  # of a path: a file that comes with the package
Kind = Literal[
    "model", "adapter", "texts", "conversations", "instructions", "examples", "schema", "graph",
    "ceval", "xiezhi", "questions",
]  # fmt: skip


class Input(StrictModel):
    """Something that a user supplies."""

    path: str = Field(min_length=1)
    """A file or folder, meant from the recipe's folder (of a built-in recipe: from the current
    one); for a model a hub id, too."""

    kind: Kind
    """What it is; `--tiny` puts a small sample of the same kind in its place."""

    about: str
    """What it holds and where one gets it."""

    license: str = ""
    """Its license, as the hub names it (cc-by-sa-4.0), for the model card; "" where it is not
    known. Forgotten where another path is given."""

    language: Literal["zh", "en", "code"] | None = None
    """Of texts: which sample `--tiny` takes."""

    like: Literal["llama", "llama3"] = "llama"
    """Of a model: its architecture, for the small one of `--tiny`. llama: a SentencePiece
    vocabulary; llama3: byte-level BPE, and grouped queries."""

    def is_in(self, folder: Path) -> bool:
        """Tell whether it is there (seen from a folder), can be fetched, or is made by the run."""
        is_elsewhere = self.path.startswith(("@", SAMPLE))
        is_hub_id = self.kind == "model" and looks_like_hub_id(self.path)
        return is_elsewhere or is_hub_id or (folder / Path(self.path).expanduser()).exists()


def fill_in(stages: Mapping[str, Any], paths: Mapping[str, str], source: ConfigSource) -> Any:  # noqa: ANN401
    """Return the stages with every `@inputs/NAME[/below]` replaced by the input's path.

    A path that begins with `hanlin:samples/` is a file of the package.

    Raises:
        ConfigError: there is no input of that name.
    """

    def replaced(value: Any, where: KeyPath) -> Any:  # noqa: ANN401 - YAML values
        if isinstance(value, str) and value.startswith(PREFIX):
            name, slash, below = value.removeprefix(PREFIX).partition("/")
            if name not in paths:
                raise ConfigError(
                    f"{source.at(where)}: there is no input {name!r}",
                    why=f"the recipe's inputs are: {', '.join(paths) or 'none'}",
                    fix=did_you_mean(name, paths),
                )
            return _located(paths[name] + slash + below)
        if isinstance(value, str):
            return _located(value)
        if isinstance(value, dict):
            return {key: replaced(item, (*where, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, (*where, index)) for index, item in enumerate(value)]
        return value

    return {id_: replaced(settings, ("stages", id_)) for id_, settings in stages.items()}


def _located(path: str) -> str:
    if not path.startswith(SAMPLE):
        return path
    return str(files("hanlin.recipes").joinpath("samples", path.removeprefix(SAMPLE)))
