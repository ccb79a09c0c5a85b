"""Which types of entities, relations and events are looked for in texts of a language?

zh:
  entities: [人物, 城镇]
  relations:
    出生地: [人物, 城镇]
  events:
    成立: {roles: [机构, 创始人]}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from hanlin.core.config import ConfigSource, StrictModel, load_yaml, validate
from hanlin.core.errors import ConfigError
from hanlin.core.registry import did_you_mean

MARKS = "：:；;，,=\\\n"  # what an answer is put together with; no type can hold one


class EventType(StrictModel):
    """What is known of one type of event."""

    roles: list[str]
    """Roles that an entity can have in it."""

    @field_validator("roles")
    @classmethod
    def _check(cls, roles: list[str]) -> list[str]:
        return _checked(roles)


class Schema(StrictModel):
    """The types of one language."""

    language: str = Field(default="", exclude=True)
    """Set from the key that the types stand below."""

    instruction: str | None = None
    """What the user's message says before the text; without it a list of all types is written. A
    model tuned on one set of types needs no list."""

    entities: list[str] = Field(min_length=1)
    """Types of entities."""

    relations: dict[str, tuple[str, str]] = Field(default_factory=dict)
    """Type of relation -> types of its head and its tail."""

    events: dict[str, EventType] = Field(default_factory=dict)
    """Type of event -> its roles."""

    @model_validator(mode="after")
    def _check(self) -> Schema:
        _checked([*self.entities, *self.relations, *self.events])
        for name, ends in self.relations.items():
            for end in ends:
                if end not in self.entities:
                    hint = did_you_mean(end, self.entities) or "add it to entities"
                    raise ValueError(f"relation {name!r} joins {end!r}, no entity type ({hint})")
        return self


def _checked(names: list[str]) -> list[str]:
    """Return names that an answer can tell apart."""
    for number, name in enumerate(names):
        if not name or name != name.strip():
            raise ValueError(f"{name!r} is empty or has white space around it")
        if any(mark in name for mark in MARKS):
            raise ValueError(
                f"{name!r} holds one of the marks that answers are made with: {MARKS!r}"
            )
        if name in names[:number]:
            raise ValueError(f"{name!r} appears twice; entity, relation and event types all differ")
    return names


def load_schemas(path: str | Path) -> dict[str, Schema]:
    """Read a schema file: language -> types.

    Raises:
        InputError: the file is missing or cannot be read.
        ConfigError: it is no YAML, a key is unknown, or types contradict each other.
    """
    values, source = load_yaml(Path(path))
    if not values:
        raise ConfigError(f"{path} names no language", fix="write a language such as zh: first")
    return {str(name): _schema(str(name), value, source) for name, value in values.items()}


def _schema(language: str, value: object, source: ConfigSource) -> Schema:
    schema = validate(Schema, value, source=source, at=(language,))
    if schema.language not in ("", language):
        raise ConfigError(f"{source.at((language,))}: delete the key language below {language!r}")
    return schema.model_copy(update={"language": language})


def schema_for(schemas: Mapping[str, Schema], language: str | None) -> Schema:
    """Return the types of a language; of None where there is one language only.

    Raises:
        ConfigError: the schema does not have that language.
    """
    known = ", ".join(schemas)
    if language is None:
        if len(schemas) == 1:
            return next(iter(schemas.values()))
        raise ConfigError(
            "a text has no language",
            why=f"the schema has types for several: {known}",
            fix='give --language, or "language" in each row of the input',
        )
    if language not in schemas:
        raise ConfigError(
            f"the schema has no language {language!r}",
            why=f"it has types for: {known}",
            fix=did_you_mean(language, schemas) or f"give --language {next(iter(schemas))}",
        )
    return schemas[language]
