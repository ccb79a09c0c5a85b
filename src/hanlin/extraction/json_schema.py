"""What is the JSON Schema of an answer in our JSON, for servers and tools that want one?"""

from __future__ import annotations

from typing import Any

from hanlin.extraction.schema import Schema

NAME = {"type": "string", "minLength": 1}


def json_schema(schema: Schema, *, has_spans: bool = False) -> dict[str, Any]:
    """Return the schema (draft 2020-12) of an answer in the form `json` or `json-spans`.

    Types and roles are enumerations: a type that the schema does not have is invalid.
    """
    parts: dict[str, Any] = {}
    names = list(dict.fromkeys([*schema.entities, *schema.attributes]))
    if names:
        entity: dict[str, Any] = {"type": {"enum": names}, "text": NAME}
        span: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}}
        span |= {"minItems": 2, "maxItems": 2}
        optional = {"span": span} if has_spans else {}
        parts["entities"] = _array(_object(entity, optional=optional))
    if schema.pairs or schema.is_open:
        type_ = NAME if schema.is_open else {"enum": list(schema.pairs)}
        parts["relations"] = _array(_object({"type": type_, "head": NAME, "tail": NAME}))
    if schema.events:
        kinds = []
        for name, event in schema.events.items():
            roles = {"enum": event.roles} if event.roles else False
            argument = _object({"role": roles, "text": NAME})
            trigger = {"trigger": NAME} if event.trigger else {}
            kinds.append(
                _object({"type": {"const": name}, **trigger, "arguments": _array(argument)})
            )
        parts["events"] = _array({"anyOf": kinds})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_object(parts)}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(
    properties: dict[str, Any], *, optional: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }
