"""What does a model say of the examples that a graph gave? It may strike facts out, and add some.

A graph knows more than a text tells: that both ends are named does not make it say the fact. And a
text tells more than a graph knows. Any engine can be handed in; both steps are optional.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hanlin.extraction.facts import Extraction, Mention, Relation
from hanlin.extraction.knowledge.compose import Example

Ask = Callable[[Sequence[str]], Sequence[str]]  # questions -> answers
Extract = Callable[[Sequence[Example]], Sequence[Extraction]]

QUESTIONS = {
    "zh": "文本：{text}\n问题：根据这段文本，能否得出“{head}”的“{relation}”是“{tail}”？"
    "只回答“是”或“否”。",
    "en": "Text: {text}\nQuestion: does this text say that the {relation} of {head} is {tail}? "
    "Answer yes or no.",
}
YES = ("是", "能", "对", "可以", "yes", "true")


def check(examples: Sequence[Example], ask: Ask) -> tuple[list[Example], int]:
    """Return the examples without the facts that a model does not find told, and their number."""
    questions = [q for example in examples for q in entailment_questions(example)]
    answers = iter(ask(questions) if questions else ())
    kept, struck = [], 0
    for example in examples:
        is_told = [is_yes(next(answers)) for _ in example.found.relations]
        struck += is_told.count(False)
        kept.append(_only(example, is_told))
    return kept, struck


def entailment_questions(example: Example) -> list[str]:
    """Return for each fact of an example the question whether its sentences say it."""
    found = example.found
    template = QUESTIONS.get(found.language, QUESTIONS["en"])
    return [
        template.format(
            text="".join(found.text[start:end] for start, end in evidence) or found.text,
            head=found.named(relation.head), relation=relation.type,
            tail=found.named(relation.tail),
        )
        for relation, evidence in zip(found.relations, example.evidence, strict=True)
    ]  # fmt: skip


def is_yes(answer: str) -> bool:
    """Tell a yes, in Chinese or English; whatever is neither counts as a no."""
    return answer.strip().lower().startswith(YES)


def _only(example: Example, is_kept: Sequence[bool]) -> Example:
    pairs = zip(example.found.relations, example.evidence, is_kept, strict=True)
    kept = [(relation, evidence) for relation, evidence, keep in pairs if keep]
    return replace(
        example,
        found=replace(example.found, relations=tuple(relation for relation, _ in kept)),
        evidence=tuple(evidence for _, evidence in kept),
    )


def supplement(examples: Sequence[Example], extract: Extract) -> tuple[list[Example], int]:
    """Return the examples with the facts that a model found besides, and their number.

    Only relations of the example's schema between names that stand in the text are taken.
    """
    more = [_with(one, found) for one, found in zip(examples, extract(examples), strict=True)]
    added = sum(
        len(new.found.relations) - len(old.found.relations)
        for new, old in zip(more, examples, strict=True)
    )
    return more, added


def _with(example: Example, found: Extraction) -> Example:
    entities = list(example.found.entities)
    relations = list(example.found.relations)
    at = {mention.text: index for index, mention in enumerate(entities)}
    known = {(r.type, entities[r.head].text, entities[r.tail].text) for r in relations}
    types = example.schema.relations
    for relation in found.relations:
        ends = [found.entities[relation.head], found.entities[relation.tail]]
        key = (relation.type, ends[0].text, ends[1].text)
        if relation.type not in types or key in known or any(end.start is None for end in ends):
            continue
        known.add(key)
        for end, type_ in zip(ends, types[relation.type], strict=True):
            if end.text not in at:
                at[end.text] = len(entities)
                own = end.type if end.type in example.schema.entities else type_
                entities.append(Mention(end.text, own, end.start, end.end, end.status))
        relations.append(Relation(relation.type, at[key[1]], at[key[2]]))
    added = len(relations) - len(example.found.relations)
    return replace(
        example,
        found=replace(example.found, entities=tuple(entities), relations=tuple(relations)),
        evidence=(*example.evidence, *[()] * added),
        nodes=(*example.nodes, *[""] * (len(entities) - len(example.nodes))),
    )
