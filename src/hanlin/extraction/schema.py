"""Which types of entities, relations, events and attributes are looked for in texts of a language?

zh:
  entities: [人物, 城镇]
  relations:
    出生地: [人物, 城镇]      # types of head and tail; a plain list of names leaves them open
  events:
    成立: {roles: [机构, 创始人]}
  attributes: {公司: [成立时间, 资产总额]}  # [] takes whatever is named
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from hanlin.core.config import ConfigSource, StrictModel, load_yaml, parse_yaml, validate
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.registry import did_you_mean

MARKS = "：:；;，,=\\\n"  # what an answer in lines is put together with
ANY = ""  # the type of a relation's end that is left open
READY = Path(__file__).parent / "schemas"


class EventType(StrictModel):
    """What is known of one type of event."""

    roles: list[str] = Field(default_factory=list)
    """Roles that an entity can have in it."""

    trigger: bool = True
    """Whether a word of the text stands for the event. Without one it is known by its arguments."""

    @field_validator("roles")
    @classmethod
    def _check(cls, roles: list[str]) -> list[str]:
        return _checked(roles)

    @model_validator(mode="after")
    def _check_there_is_something(self) -> EventType:
        if not self.trigger and not self.roles:
            raise ValueError("an event without trigger needs roles")
        return self


class Schema(StrictModel):
    """The types of one language."""

    language: str = Field(default="", exclude=True)
    """Set from the key that the types stand below."""

    instruction: str | None = None
    """What the user's message says before the text; without it a list of all types is written. A
    model tuned on one set of types needs no list."""

    entities: list[str] = Field(default_factory=list)
    """Types of entities."""

    relations: dict[str, tuple[str, str]] = Field(default_factory=dict)
    """Type of relation -> types of its head and its tail, "" for any. A list of names: any."""

    events: dict[str, EventType] = Field(default_factory=dict)
    """Type of event -> its roles."""

    attributes: dict[str, list[str]] = Field(default_factory=dict)
    """Type of entity -> its attributes; an empty list takes every attribute that is named. In what
    was found, an attribute is a relation to an entity without type, its value."""

    @field_validator("relations", mode="before")
    @classmethod
    def _name(cls, relations: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if isinstance(relations, list):
            _checked([str(name) for name in relations])
            return {name: (ANY, ANY) for name in relations}
        return relations

    @model_validator(mode="after")
    def _check(self) -> Schema:
        if not (self.entities or self.relations or self.events or self.attributes):
            raise ValueError("no type is named: give entities, relations, events or attributes")
        own = {name: None for names in self.attributes.values() for name in names}
        _checked(self.entities)
        _checked([*self.relations, *own, *self.events])
        for name in self.events:
            if name in self.entities:
                raise ValueError(f"{name!r} appears twice; entity and event types all differ")
        for names in self.attributes.values():
            _checked(names)
        for name, ends in self.relations.items():
            for end in ends:
                if end != ANY and end not in self.entities:
                    hint = did_you_mean(end, self.entities) or "add it to entities"
                    raise ValueError(f"relation {name!r} joins {end!r}, no entity type ({hint})")
        return self

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """Return relations and attributes alike: name -> types of head and tail, "" for any."""
        found = dict(self.relations)
        for type_, names in self.attributes.items():
            for name in names:
                found[name] = (ANY if name in found else type_, ANY)
        return found

    @property
    def is_open(self) -> bool:
        """Tell whether attributes may have names that the schema does not know."""
        return any(not names for names in self.attributes.values())

    def only(self, kept: Iterable[str]) -> Schema:
        """Return the schema with those types alone, in its own order; the ends of relations open.

        Raises:
            ValueError: none of them is in it.
        """
        names = set(kept)
        return Schema(
            language=self.language,
            instruction=self.instruction,
            entities=[name for name in self.entities if name in names],
            relations={
                name: tuple(end if end in names else ANY for end in ends)
                for name, ends in self.relations.items()
                if name in names
            },
            events={name: event for name, event in self.events.items() if name in names},
            attributes={name: own for name, own in self.attributes.items() if name in names},
        )


def _checked(names: list[str]) -> list[str]:
    """Return names that an answer can tell apart."""
    for number, name in enumerate(names):
        if not name or name != name.strip():
            raise ValueError(f"{name!r} is empty or has white space around it")
        if "\n" in name or "\r" in name:
            raise ValueError(f"{name!r} holds a line break")
        if name in names[:number]:
            raise ValueError(f"{name!r} appears twice; relation and event types all differ")
    return names


def load_schemas(path: str | Path) -> dict[str, Schema]:
    """Read a schema file (YAML or JSON: language -> types), or a ready one by its name.

    Raises:
        InputError: the file is missing or cannot be read.
        ConfigError: it is no YAML, a key is unknown, or types contradict each other.
    """
    ready = READY / f"{path}.yaml"
    if Path(path).suffix == "" and not Path(path).exists():
        if str(path) not in ready_schemas():
            raise InputError(
                f"there is no schema {str(path)!r}",
                why=f"it is no file, and the ready ones are: {', '.join(ready_schemas())}",
                fix=did_you_mean(str(path), ready_schemas()) or "give the path of a YAML file",
            )
        path = ready
    return _schemas(*load_yaml(Path(path)))


def parse_schemas(text: str, *, name: str = "the schema") -> dict[str, Schema]:
    """Read the text of such a file; `name` is what messages call it.

    Raises:
        ConfigError: as `load_schemas`.
    """
    return _schemas(*parse_yaml(text, Path(name)))


def _schemas(values: Mapping[str, object], source: ConfigSource) -> dict[str, Schema]:
    if not values:
        raise ConfigError(
            f"{source.name} names no language", fix="write a language such as zh: first"
        )
    return {str(name): _schema(str(name), value, source) for name, value in values.items()}


def ready_schemas() -> list[str]:
    """Return the names of the schemas that come with the package."""
    return sorted(file.stem for file in READY.glob("*.yaml"))


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
