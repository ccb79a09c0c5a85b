"""`hanlin extract ask`: answer a question from a knowledge graph, by a plan of look-ups."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.extract.graphs import open_graph, server_options
from hanlin.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanlin.extraction.knowledge.plan_run import Outcome
    from hanlin.extraction.knowledge.planning import Form


@click.command()
@click.argument("graph")
@click.argument("question", required=False)
@click.option("--model", help="Plans the look-ups.")
@click.option("--plan", "plan_file", type=click.Path(path_type=Path),
              help="A plan written by hand, in place of a model's.")  # fmt: skip
@click.option("--language", default="", help="Of the question and the names, zh or en.")
@click.option("--plan-form", type=click.Choice(["code", "slots", "cutegpt"]),
              default="code", show_default=True, help="How the model is asked.")  # fmt: skip
@click.option("--constrain", is_flag=True,
              help="Hold the model to look-ups of the graph's relations.")  # fmt: skip
@click.option("--prompt", help="Prompt format; without it the one the model was tuned on.")
@click.option("--max-new-tokens", default=512, show_default=True, type=click.IntRange(1),
              help="Longest plan.")  # fmt: skip
@server_options
@json_option
def ask(  # noqa: PLR0913 - one argument for each option
    graph: str, question: str | None, model: str | None, plan_file: Path | None, language: str,
    plan_form: Form, constrain: bool, prompt: str | None, max_new_tokens: int, user: str,
    database: str, as_json: bool,
) -> None:  # fmt: skip
    """Answer a QUESTION from GRAPH: a store (.sqlite), or the address of a Neo4j server.

    The model writes a plan of look-ups; the plan is checked, its look-ups are made, and the answer
    comes with the facts it rests on. A plan is never run as Python: imports, attributes, endless
    loops and whatever else is no look-up are refused. Where a model's plan begins at a name that
    the question does not hold, the one that it does hold is taken, and the messages say so.

    \b
    Examples:
      hanlin extract ask world.sqlite "《潮声》的作者出生在哪里？" --model runs/planner
      hanlin extract ask world.sqlite --plan plan.txt --json
    """
    from hanlin.cli.extract.asking import asker, planned
    from hanlin.core.errors import ConfigError
    from hanlin.extraction.knowledge.plan_run import run_plan
    from hanlin.extraction.knowledge.planning import code_of
    from hanlin.text.script import main_script

    if (plan_file is None) == (model is None) or (model is not None and question is None):
        raise ConfigError(
            "an answer needs a plan",
            why="a model writes one for a question, or you give your own",
            fix="add QUESTION --model MODEL, or --plan FILE",
        )
    tell = None if model is None else asker(model, prompt=prompt, max_new_tokens=max_new_tokens)
    with open_graph(graph, language=language, user=user, database=database) as opened:
        names: Sequence[str] = ()
        if plan_file is not None:
            code = code_of(_read(plan_file))
        else:
            assert tell is not None and question is not None
            spoken = language or ("zh" if main_script(question) == "Han" else "en")
            code, names = planned(
                question, tell, opened, language=spoken, form=plan_form, is_held=constrain
            )
        outcome = run_plan(code, opened, names=names)
    value = {"question": question, "plan": code, **asdict(outcome)}
    console.result(value, as_json=as_json, text=_as_text(outcome))


def _read(file: Path) -> str:
    from hanlin.core.files import os_error

    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise os_error(error, file) from error


def _as_text(outcome: Outcome) -> str:
    lines = [", ".join(outcome.answer) or "nothing is known"]
    lines += [f"  {t.head_name} · {t.relation_name} · {t.tail_name}" for t in outcome.triples]
    return "\n".join(lines)
