"""How are a model's answers to plain questions asked for, in the prompt that it was tuned on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hanlin.core.records import Grammar
    from hanlin.extraction.knowledge.lookups import LookUps
    from hanlin.extraction.knowledge.planning import Form


class Ask(Protocol):
    """Asks a model."""

    def __call__(self, questions: Sequence[str], *, grammar: Grammar | None = None) -> list[str]:
        """Return one answer for each question, all of them held to the grammar, if there is one."""


def asker(model: str, *, prompt: str | None = None, max_new_tokens: int = 256) -> Ask:
    """Load a model and return a function: questions to answers, chosen greedily.

    Raises:
        InputError: there is no model.
        ConfigError: no prompt format has that name.
    """
    from hanlin.core.records import Message
    from hanlin.inference.conversation import prompt_format
    from hanlin.inference.engine import Sampling, open_engine
    from hanlin.prompts.encode import encode_prompt, stop_ids

    engine = open_engine(model)
    format = prompt_format(engine, name=prompt)
    ends = stop_ids(format, engine.tokenizer)
    sampling = Sampling(max_new_tokens=max_new_tokens, stop=format.stop_strings, stop_ids=ends)

    def ask(questions: Sequence[str], *, grammar: Grammar | None = None) -> list[str]:
        prompts = [
            encode_prompt([Message("user", question)], format=format, tokenizer=engine.tokenizer)
            for question in questions
        ]
        held = replace(sampling, grammar=grammar)
        return [answer.text for answer in engine.generate(prompts, held)]

    return ask


def planned(
    question: str, ask: Ask, graph: LookUps, *, language: str, form: Form, is_held: bool
) -> tuple[str, Sequence[str]]:
    """Let a model plan the look-ups for a question.

    Args:
        question: in words.
        ask: asks the model.
        graph: where it will be looked up.
        language: of the question.
        form: how the model is asked.
        is_held: hold the model to look-ups that begin at a name in the question and follow the
            graph's relations.

    Returns:
        The plan, and the names of the graph's entities that stand in the question.

    Raises:
        PlanRefusedError: the plan has a number that stands for no name.
        ConfigError: it is to be held, and the question names nothing.
    """
    from hanlin.core.errors import ConfigError
    from hanlin.extraction.knowledge.planning import code_of, request
    from hanlin.extraction.knowledge.slots import hide, plan_grammar, restore
    from hanlin.text.normalize import fold_width

    names: Sequence[str] = graph.named_in(question)
    shown, slots = question, list(names)
    if form == "slots":
        shown, names = hide(fold_width(question), names)
        slots = [f"#{number}" for number in range(1, len(names) + 1)]
    if is_held and not slots:
        raise ConfigError(
            "the question names nothing that is in the graph",
            why="--constrain lets a plan begin only at a name that stands in the question",
            fix="write the name as the graph has it, or ask without --constrain",
        )
    grammar = plan_grammar(slots, graph.relations(language)) if is_held else None
    code = code_of(ask([request(shown, language, form)], grammar=grammar)[0])
    return (restore(code, names) if form == "slots" else code), names
