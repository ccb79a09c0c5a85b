"""In which words do DeepKE's forms ask? A published wording, and others to learn from.

The first of each language and task is DeepKE's own. The others put the same request in 19 more
ways, made of a role and an order: a model that is tuned on them does not hang on one wording. All
published ones can be read from DeepKE's own `configs/*_template.json` with `read_templates`.
"""

from __future__ import annotations

import json
from pathlib import Path

from hanlin.core.errors import ConfigError
from hanlin.core.files import read_json
from hanlin.extraction.formats.wordings import WORDINGS, language_of
from hanlin.extraction.schema import Schema


def templates(schema: Schema, task: str) -> list[str]:
    """Return twenty wordings with {s_schema} and {s_format} in them."""
    words = WORDINGS["deepke"]
    language = language_of(schema)
    noun, listing = words["nouns"][language][task]
    space = "" if language == "zh" else " "
    made = [
        f"{role}{space}{order}".replace("{noun}", noun).replace("{list}", listing)
        for order in words["orders"][language]
        for role in words["roles"][language]
    ]
    return [words["published"][language][task], *made[:-1]]


def prompt(text: str, schema: Schema, task: str, *, form: int, template: int) -> str:
    """Return the user's message: an instruction in one of the wordings, then the text."""
    choice = templates(schema, task)
    return f"{filled(choice[template % len(choice)], schema, task, form=form)}\n{text}"


def filled(template: str, schema: Schema, task: str, *, form: int) -> str:
    """Put the types and the form of the answer into a wording."""
    types: object = list(schema.entities) if task == "NER" else list(schema.relations)
    if task == "EE":
        types = {name: event.roles for name, event in schema.events.items()}
    shown = json.dumps(types, ensure_ascii=False)
    answer = WORDINGS["deepke"]["forms"][language_of(schema)][task][form]
    return template.replace("{s_schema}", shown).replace("{s_format}", answer)


def read_templates(path: Path, language: str) -> list[str]:
    """Read the wordings of one language from a template file of DeepKE.

    Raises:
        InputError: the file cannot be read.
        ConfigError: it holds no templates of that language.
    """
    value = read_json(path)
    own = value.get(language) if isinstance(value, dict) else None
    found = own.get("template") if isinstance(own, dict) else None
    texts = list(found.values()) if isinstance(found, dict) else []
    if not texts or not all(isinstance(text, str) and "{s_format}" in text for text in texts):
        raise ConfigError(
            f"{path} holds no templates for {language!r}",
            why='expected {"zh": {"template": {"0": "... {s_schema} ... {s_format} ..."}}}',
            fix="give DeepKE's configs/ner_template.json, re_template.json or ee_template.json",
        )
    return texts
