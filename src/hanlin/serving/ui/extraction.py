"""The tab in which a model extracts facts from texts: their places are marked in color."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from hanlin.core.errors import HanlinError
from hanlin.core.records import Message
from hanlin.extraction.extract import Extractor
from hanlin.extraction.facts import Extraction, to_row
from hanlin.extraction.formats.lines import LINES
from hanlin.extraction.grammar import Constrain, grammars
from hanlin.extraction.html import entity_types, fragment
from hanlin.extraction.schema import (
    Schema,
    load_schemas,
    parse_schemas,
    ready_schemas,
    schema_for,
)
from hanlin.inference.engine import Sampling
from hanlin.prompts.encode import encode_prompt, stop_ids
from hanlin.prompts.format import PromptFormat
from hanlin.serving.ui.controls import ANSWERING, QUIET
from hanlin.serving.ui.extraction_layout import CONSTRAINTS, Schemas, as_yaml, lay_out
from hanlin.serving.ui.growing import literal, note_html
from hanlin.serving.ui.page import Page, hint
from hanlin.serving.ui.served import Queued
from hanlin.serving.ui.words import Key, word
from hanlin.text.script import language_share

TAB = "extraction"
DOWNLOAD = "(text) => hanlin.download(text, 'hanlin-extractions.json')"


class ExtractionTab:
    """What is on the tab and what it does.

    Args:
        page: what all tabs share.
        schemas: name -> language -> types to choose from.
    """

    def __init__(self, page: Page, schemas: Schemas) -> None:
        self._page = page
        self._schemas = {**schemas, **{name: load_schemas(name) for name in ready_schemas()}}
        self._seen = lay_out(page, self._schemas)
        self._connect()

    def _connect(self) -> None:
        page, seen = self._page, self._seen
        seen.schema.input(self.choose, seen.schema, seen.written, **QUIET)
        seen.written.change(self.languages, [seen.written, seen.language], seen.language, **QUIET)
        page.language.input(lambda: "", None, seen.status, **QUIET)
        seen.texts.change(
            self.guess, [seen.texts, seen.written, seen.language], seen.language,
            trigger_mode="always_last", **QUIET,
        )  # fmt: skip
        seen.extract.click(
            self.extract, [seen.texts, seen.written, seen.language, seen.constrain, *page.inputs],
            [seen.status, seen.found, seen.rows], **ANSWERING,
        )  # fmt: skip
        seen.stop.click(self.stop, **QUIET)
        saved = seen.save.click(self.save, [seen.rows, page.language], seen.rows, **QUIET)
        saved.success(None, seen.rows, None, js=DOWNLOAD, **QUIET)

    def choose(self, name: str) -> str:
        """Return the text of a schema."""
        return as_yaml(self._schemas[name])

    def languages(self, written: str, language: str | None) -> Any:  # noqa: ANN401 - an update
        """Return the languages that a schema names; while it is not right, they stay."""
        try:
            known = list(parse_schemas(written))
        except HanlinError:
            return gr.skip()
        return gr.update(choices=known, value=language if language in known else known[0])

    def guess(self, texts: str, written: str, language: str | None) -> str | None:
        """Return the language of the texts, of those that the schema names."""
        try:
            known = list(parse_schemas(written))
        except HanlinError:
            return language
        best = max(known, key=lambda one: language_share(texts, one))
        is_better = language_share(texts, best) > language_share(texts, language or "")
        return best if is_better else language

    def extract(
        self,
        request: gr.Request,
        texts: str,
        written: str,
        language: str,
        constrain: Key,
        *rest: Any,  # noqa: ANN401
    ) -> Iterator[list[Any]]:
        """Extract from one text after the other and show what was found so far."""
        asked = self._page.asked(rest)
        lines = [line.strip() for line in texts.splitlines() if line.strip()]
        if not lines:
            raise hint("no_text", asked.language)
        format = self._page.models[asked.model].format
        engine = self._page.queued(request, TAB, asked.model)
        found: list[Extraction] = []
        yield [note_html(word("waiting", asked.language), kind="waiting"), "", ""]
        try:
            schema = schema_for(parse_schemas(written), language)
            extractor = extractor_of(
                engine, schema, format, asked.parameters.sampling(), CONSTRAINTS[constrain]
            )
            for number, text in enumerate(lines, 1):
                found += extractor.batch([Extraction(str(number), text, schema.language)])
                if engine.is_stopped:
                    found.pop()
                    break
                yield self._state(found, len(lines), asked.language, is_over=number == len(lines))
        except HanlinError as error:
            yield [note_html(str(error), kind="error"), gr.skip(), ""]
            return
        if engine.is_stopped:
            yield self._state(found, len(lines), asked.language, is_over=True)

    def stop(self, request: gr.Request) -> None:
        """End the extraction; what was found stays."""
        self._page.stop(request, TAB)

    def save(self, rows: str, language: str) -> str:
        """Return what was found, for the browser to keep."""
        if not rows:
            raise hint("nothing_found", language)
        return rows

    def _state(
        self, found: Sequence[Extraction], total: int, language: str, *, is_over: bool
    ) -> list[str]:
        counts = (
            len(found), total, sum(len(one.entities) for one in found),
            sum(len(one.relations) for one in found), sum(len(one.events) for one in found),
            sum(mention.start is None for one in found for mention in one.entities),
            sum(one.unreadable for one in found),
        )  # fmt: skip
        note = note_html(
            word("found", language).format(*counts), kind="finished" if is_over else "answering"
        )
        types = entity_types(found)
        missing = word("missing", language)
        shown = "".join(fragment(one, types=types, missing=missing) for one in found)
        rows = json.dumps([to_row(one) for one in found], ensure_ascii=False, indent=2)
        return [note, literal(shown), rows if is_over else ""]


def extractor_of(
    engine: Queued, schema: Schema, format: PromptFormat, sampling: Sampling, constrain: Constrain
) -> Extractor[Sampling]:
    """Return what extracts with the page's parameters."""
    tokenizer = engine.tokenizer
    ends = stop_ids(format, tokenizer)
    plain = replace(sampling, stop=format.stop_strings, stop_ids=ends)
    grammar_of = grammars(constrain, LINES.name)

    def prompt_ids(question: str) -> list[int]:
        return encode_prompt([Message("user", question)], format=format, tokenizer=tokenizer)

    return Extractor(
        engine,
        prompt_ids,
        lambda question, text: replace(plain, grammar=grammar_of(question, text)),
        {schema.language: schema},
    )
