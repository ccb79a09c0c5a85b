"""Strict configuration: YAML in, validated models out, every complaint with file and line.

A default exists once, in a model derived from `StrictModel`. Unknown and doubled keys are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import os_error
from hanlin.core.registry import did_you_mean

KeyPath = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class StrictModel(BaseModel):
    """Base of every config: no unknown keys, no silent changes, documented fields."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )


class InputPath(str):
    """A file or folder that a stage reads: a path, or `@stage/output` in a recipe.

    The planner finds these values by their type: a reference makes one stage depend on another,
    a path's content becomes part of the fingerprint.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(min_length=1)
        )

    @property
    def is_reference(self) -> bool:
        """Tell whether it names another stage's output."""
        return self.startswith("@")

    @property
    def is_hub_id(self) -> bool:
        """Tell whether it can only be a hub id."""
        return False


class ModelPath(InputPath):
    """A model: like `InputPath`, but a hub id (`owner/name`) is allowed as well."""

    __slots__ = ()

    @property
    def is_hub_id(self) -> bool:
        """Tell whether it can only be a hub id."""
        return looks_like_hub_id(self)


def looks_like_hub_id(text: str) -> bool:
    """Tell `owner/name` from a path; something that exists on disk is never a hub id."""
    return text.count("/") == 1 and text[0] not in "@./~" and not Path(text).exists()


@dataclass(frozen=True)
class ConfigSource:
    """Where the values of a config came from.

    Attributes:
        name: the file, or "the command line".
        lines: key path -> 1-based line in the file.
        folder: relative paths are meant from here.
    """

    name: str
    folder: Path
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def at(self, where: KeyPath) -> str:
        """Return "file:line" of a key, or of the nearest key around it."""
        for length in range(len(where), 0, -1):
            if where[:length] in self.lines:
                line = self.lines[where[:length]]
                return f"{self.name}:{line}" if line else f"--set {dotted(where)}"
        return self.name


def dotted(where: KeyPath) -> str:
    """Return a key path as it is typed after --set."""
    return ".".join(str(part) for part in where)


def load_yaml(path: Path) -> tuple[dict[str, Any], ConfigSource]:
    """Read a YAML mapping and remember the line of every key.

    Raises:
        InputError: the file is missing or cannot be read.
        ConfigError: it is not YAML, not a mapping, or a key appears twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", fix="check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text", why=str(error)) from error
    except OSError as error:
        raise os_error(error, path) from error
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> tuple[dict[str, Any], ConfigSource]:
    """Do the same for a text; `path` is what it is called in messages.

    Raises:
        ConfigError: it is not YAML, not a mapping, or a key appears twice.
    """
    lines: dict[KeyPath, int] = {}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _collect_lines(root, (), path, lines)
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{line}: this is not valid YAML", why=problem) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: the YAML is nested too deeply") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(value).__name__}")
    return value, ConfigSource(str(path), path.resolve().parent, lines)


def _collect_lines(
    node: yaml.Node | None, at: KeyPath, path: Path, lines: dict[KeyPath, int]
) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{path}:{key.start_mark.line + 1}: a key must be a plain word")
            here, line = (*at, key.value), key.start_mark.line + 1
            if here in lines:
                raise ConfigError(
                    f"{path}:{line}: key {dotted(here)!r} appears twice",
                    why=f"first on line {lines[here]}; YAML would silently keep the last one",
                    fix="delete one of the two lines",
                )
            lines[here] = line
            _collect_lines(value, here, path, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            _collect_lines(value, (*at, index), path, lines)


def parse_value(text: str) -> Any:  # noqa: ANN401 - any YAML scalar or list
    """Read a value given on the command line as YAML does: `3`, `1e-4`, `true`, `[a, b]`."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read the value {text!r}", why=str(error)) from error


def set_value(
    target: dict[str, Any], key: str, value: object, source: ConfigSource | None = None
) -> None:
    """Set a dotted key such as "pretrain.learning_rate" in nested dictionaries.

    Raises:
        ConfigError: the key is empty or runs through something that is not a mapping.
    """
    parts = key.split(".")
    if not all(parts):
        raise ConfigError(f"--set {key}: an empty key", fix="write --set stage.key=value")
    here = target
    for part in parts[:-1]:
        below = here.setdefault(part, {})
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key}: {part!r} is a value, it has no keys below it")
        here = below
    here[parts[-1]] = value
    if source is not None:
        source.lines[tuple(parts)] = 0


def validate(model: type[M], value: object, *, source: ConfigSource, at: KeyPath = ()) -> M:
    """Turn plain values into a model, with one line of complaint for each wrong key.

    Raises:
        ConfigError: an unknown key or a bad value.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [_explain(model, item, source, at) for item in error.errors()]
        raise ConfigError("\n".join(problems), fix="edit the lines named above") from None


def _explain(
    model: type[BaseModel],
    error: Any,  # noqa: ANN401 - pydantic's ErrorDetails
    source: ConfigSource,
    at: KeyPath,
) -> str:
    where = (*at, *error["loc"])
    place = f"{source.at(where)}: {dotted(where)}"
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, error["loc"][:-1])
        hint = did_you_mean(str(error["loc"][-1]), known) or f"known keys: {', '.join(known)}"
        return f"{place}: unknown key ({hint})"
    if error["type"] == "missing":
        return f"{place}: this key is needed"
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict):  # a rule across several keys: the message names them
        return f"{place.removesuffix(': ')}: {message}"
    return f"{place}: {message} (got {error['input']!r:.80})"


def _fields_at(model: type[BaseModel], where: KeyPath) -> list[str]:
    """Return the keys that are known in the nested model an error is about."""
    for part in where:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        model = next(_models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - a type form
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def input_paths(config: BaseModel) -> list[InputPath]:
    """Return every path and reference in a config, in the order of its fields."""
    found: list[InputPath] = []

    def collect(path: InputPath) -> InputPath:
        found.append(path)
        return path

    map_paths(config.model_dump(), collect)
    return found


def map_paths(value: Any, change: Callable[[InputPath], object]) -> Any:  # noqa: ANN401
    """Return a copy of dumped values with every `InputPath` replaced by `change(path)`."""
    if isinstance(value, InputPath):
        return change(value)
    if isinstance(value, dict):
        return {key: map_paths(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [map_paths(item, change) for item in value]
    return value


def with_paths(config: M, change: Callable[[InputPath], object]) -> M:
    """Return the same config with its paths changed, for example made absolute."""
    # What was left out stays left out: some settings follow an adapter unless they are set.
    return type(config).model_validate(map_paths(config.model_dump(exclude_unset=True), change))
