"""What is in these texts? A model, a schema and one call.

from hanlin.pipeline.extraction import extract
found = extract("runs/quickstart", ["王明在青石镇。"], "schema.yaml")

for one in found:
for mention in one.entities: print(mention.type, mention.text, mention.start, mention.end)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import ConfigError
from hanlin.extraction.extract import BATCH_SIZE, Extractor
from hanlin.extraction.facts import Extraction, Status
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import AnswerFormat, Asking
from hanlin.extraction.grammar import FORMS, Constrain, grammars, has_grammar
from hanlin.extraction.ground import farthest
from hanlin.extraction.schema import Schema, load_schemas, schema_for

if TYPE_CHECKING:
    from hanlin.inference.engine import Engine, Generation, Sampling


@dataclass(frozen=True)
class Settings:
    """How a model is asked for facts.

    Attributes:
        form: a name in `extraction.formats.FORMATS`.
        constrain: hold the model to the types of the schema ("schema"), and its names to parts of
            the text ("text"); "off" lets it write what it likes.
        until: the last step that is tried to find a name in the text; None: as far as the installed
            packages allow.
        prompt: prompt format; None for the one the model was tuned on.
        max_new_tokens: longest answer.
    """

    form: str = "lines"
    constrain: Constrain = "off"
    until: Status | None = None
    prompt: str | None = None
    max_new_tokens: int = 256


DEFAULT = Settings()


def open_extractor(
    engine: Engine, schemas: Mapping[str, Schema], settings: Settings = DEFAULT
) -> Extractor[Sampling]:
    """Return what extracts with an open model.

    Raises:
        ConfigError: a form, a prompt format or a combination does not exist.
    """
    from hanlin.core.records import Message
    from hanlin.inference.conversation import prompt_format
    from hanlin.inference.engine import Sampling
    from hanlin.prompts.encode import encode_prompt, stop_ids

    form = FORMATS.get(settings.form)
    if settings.constrain != "off" and not has_grammar(settings.form):
        raise ConfigError(
            f"the form {settings.form!r} has no grammar to hold a model to",
            why=f"there is one for: {', '.join(FORMS)}",
            fix=f"take one of these forms, or leave constrain={settings.constrain!r} out",
        )
    _check_types(form, schemas)
    format = prompt_format(engine, name=settings.prompt)
    ends = stop_ids(format, engine.tokenizer)
    grammar_of = grammars(settings.constrain, settings.form)
    plain = Sampling(
        max_new_tokens=settings.max_new_tokens, stop=format.stop_strings, stop_ids=ends
    )

    def prompt_ids(question: str) -> list[int]:
        return encode_prompt([Message("user", question)], format=format, tokenizer=engine.tokenizer)

    return Extractor(
        engine,
        prompt_ids,
        lambda question, text: replace(plain, grammar=grammar_of(question, text)),
        schemas,
        form=form,
        asking=Asking(),
        until=settings.until or farthest(),
        generate_each=partial(_together, engine) if settings.constrain == "text" else None,
    )


def _check_types(form: AnswerFormat, schemas: Mapping[str, Schema]) -> None:
    """Refuse a form that has no words for a schema's types."""
    for language, schema in schemas.items():
        try:
            form.ask("", schema, Asking())
        except ValueError as error:
            raise ConfigError(
                f"the form {form.name!r} cannot ask for the types of language {language!r}",
                why=str(error),
                fix="take another form (lines and json have words for everything)",
            ) from error


def _together(
    engine: Engine, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]
) -> list[Generation]:
    """Return the answers to prompts that each have a grammar of their own, in one batch."""
    from hanlin.inference.scheduler import Scheduler

    with Scheduler(engine, max_running=BATCH_SIZE) as scheduler:
        pairs = zip(prompts, samplings, strict=True)
        tickets = [scheduler.submit(prompt, sampling) for prompt, sampling in pairs]
        ends = [event.generation for ticket in tickets for event in ticket.events()]
    return [generation for generation in ends if generation is not None]


def extract(
    model: str,
    texts: Sequence[str],
    schema: str | Path | Schema,
    *,
    language: str | None = None,
    settings: Settings = DEFAULT,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None,
) -> list[Extraction]:
    """Return what a model finds in texts.

    Args:
        model: anything that `inference.engine.open_engine` opens.
        texts: of one language.
        schema: a file, the name of a ready one, or the types themselves.
        language: of the texts, where the schema has types for several.
        settings: how the model is asked.
        progress: called with (done, total, text) after each batch.

    Raises:
        InputError: the model or the schema cannot be read.
        ConfigError: the schema or a setting is wrong.
    """
    from hanlin.inference.engine import open_engine

    known = {schema.language: schema} if isinstance(schema, Schema) else load_schemas(schema)
    own = schema_for(known, language)
    extractor = open_extractor(open_engine(model), {own.language: own}, settings)
    given = [Extraction(str(number), text, own.language) for number, text in enumerate(texts, 1)]
    return list(extractor.each(given, progress=progress))
