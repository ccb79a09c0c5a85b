"""What is on the tab in which a model extracts facts from texts?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
import yaml

from hanlin.extraction.grammar import Constrain
from hanlin.extraction.schema import Schema, parse_schemas
from hanlin.serving.ui.chat_layout import action
from hanlin.serving.ui.page import Page
from hanlin.serving.ui.words import Key

CONSTRAINTS: Mapping[Key, Constrain] = {
    "constrain_off": "off", "constrain_schema": "schema", "constrain_text": "text",
}  # fmt: skip
Schemas = Mapping[str, Mapping[str, Schema]]
START = """\
zh:
  entities: [人物, 地点, 机构]
  relations:
    出生地: [人物, 地点]
en:
  entities: [Person, Place, Organization]
  relations:
    birthplace: [Person, Place]
"""


@dataclass(frozen=True)
class ExtractionLayout:
    """The tab's components.

    Attributes:
        texts: what to extract from.
        extract: the button that begins.
        stop: the one that ends it.
        save: gives the browser what was found.
        status: a line with counts.
        found: the texts with their spans marked.
        schema: a choice of schemas.
        language: of the texts.
        constrain: what the answers are held to.
        written: the schema that is used.
        rows: hidden: what was found, as JSON.
    """

    texts: Any
    extract: Any
    stop: Any
    save: Any
    status: Any
    found: Any
    schema: Any
    language: Any
    constrain: Any
    written: Any
    rows: Any


def lay_out(page: Page, schemas: Schemas) -> ExtractionLayout:
    """Make the tab's components."""
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            texts = page.wording.add(
                gr.Textbox, says={"label": "text", "placeholder": "text_hint"}, lines=6,
                max_lines=14, elem_id="texts",
            )  # fmt: skip
            with gr.Row(elem_classes="asking"):
                extract = action(page, "extract", variant="primary")
                stop = action(page, "stop", elem_id="extract-stop")
                save = action(page, "save_rows")
            status, found = gr.HTML(elem_id="extract-status"), gr.HTML(elem_id="found")
        with gr.Column(scale=2, min_width=280):
            schema, language, constrain, written = _schema(page, schemas)
    return ExtractionLayout(
        texts=texts, extract=extract, stop=stop, save=save, status=status, found=found,
        schema=schema, language=language, constrain=constrain, written=written,
        rows=gr.Textbox(visible="hidden", elem_id="rows"),
    )  # fmt: skip


def _schema(page: Page, schemas: Schemas) -> tuple[Any, Any, Any, Any]:
    add, first = page.wording.add, next(iter(schemas), None)
    start = START if first is None else as_yaml(schemas[first])
    known = list(parse_schemas(start))
    schema = add(
        gr.Dropdown, says={"label": "schema"}, choices=list(schemas), value=first,
        filterable=False, visible=bool(schemas), elem_id="schema",
    )  # fmt: skip
    language = add(
        gr.Dropdown, says={"label": "text_language"}, choices=known, value=known[0],
        filterable=False, elem_id="text-language",
    )  # fmt: skip
    constrain = add(
        gr.Radio, says={"label": "constrain", "choices": list(CONSTRAINTS)},
        value="constrain_off", elem_id="constrain",
    )  # fmt: skip
    written = add(
        gr.Textbox, says={"label": "schema_text"}, value=start, lines=12, max_lines=24,
        elem_id="schema-text", elem_classes="code",
    )  # fmt: skip
    return schema, language, constrain, written


def as_yaml(schemas: Mapping[str, Schema]) -> str:
    """Return the text of a schema file."""
    values = {
        language: schema.model_dump(mode="json", exclude_defaults=True)
        for language, schema in schemas.items()
    }
    text: str = yaml.safe_dump(values, allow_unicode=True, sort_keys=False, default_flow_style=None)
    return text
