"""Where are the words in which models are asked? In `wordings.yaml`, by form, language and task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hanlin.core.config import load_yaml
from hanlin.extraction.schema import Schema

WORDINGS: dict[str, Any] = load_yaml(Path(__file__).with_suffix(".yaml"))[0]


def language_of(schema: Schema) -> str:
    """Return the language that there are words in: Chinese for Chinese, English for all else."""
    return "zh" if schema.language.startswith("zh") else "en"


def in_language(form: str, schema: Schema) -> dict[str, str]:
    """Return task -> wording, in the schema's language."""
    words: dict[str, str] = WORDINGS[form][language_of(schema)]
    return words
