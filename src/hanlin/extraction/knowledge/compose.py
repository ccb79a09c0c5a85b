"""How does an annotated text become an example, and the example instructions to train on?"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hanlin.core.stage import derive_seed
from hanlin.extraction.facts import Extraction, Mention, Relation, to_row
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import Asking, write_answer
from hanlin.extraction.knowledge.index import GraphIndex
from hanlin.extraction.knowledge.link import Annotation, Place, Told
from hanlin.extraction.knowledge.wording import Wording
from hanlin.extraction.schema import Schema
from hanlin.text.sentences import sentences

HUB = 50  # facts from which on an entity is too well known to be kept for the test


@dataclass(frozen=True)
class Example:
    """A text with what it tells, and what it is asked about.

    Attributes:
        found: entities and relations with places.
        evidence: for each relation the sentences that tell it.
        nodes: for each entity its id in the graph, "" for a value or an open name.
        schema: the types that are asked about.
        topic: type of what the text is about.
        is_test: whether it names an entity that is kept for the test.
    """

    found: Extraction
    evidence: tuple[tuple[Place, ...], ...]
    nodes: tuple[str, ...]
    schema: Schema
    topic: str
    is_test: bool

    def row(self) -> dict[str, Any]:
        """Return it for a JSON-lines file; `extraction.facts.from_row` reads it."""
        return {
            **to_row(self.found),
            "evidence": [[list(place) for place in places] for places in self.evidence],
            "graph_ids": list(self.nodes),
            "topic": self.topic,
        }


def passages(text: str, longest: int) -> Iterator[tuple[int, str]]:
    """Yield (start, passage): whole sentences, at most `longest` characters where they allow it."""
    start, end = 0, 0
    for span in sentences(text):
        if span.end - start > longest and end > start:
            yield start, text[start:end]
            start = end
        end = span.end
    if text[start:].strip():
        yield start, text[start:]


def is_kept_for_test(index: GraphIndex, node: int, *, share: float, seed: int) -> bool:
    """Tell whether an entity is one of the test's; hubs never are, every text would name one."""
    if share <= 0 or index.degrees[node] > HUB:
        return False
    digest = hashlib.sha256(f"{seed}:{index.ids[node]}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def make_example(
    annotation: Annotation, *, id: str, wording: Wording, negatives: int, test_share: float,
    seed: int,
) -> Example:  # fmt: skip
    """Put names of a language to what was found in a text."""
    index = wording.index
    builder = _Builder(annotation, wording)
    relations = tuple(builder.relation(told) for told in annotation.facts)
    found = Extraction(
        id=id, text=annotation.text, language=wording.language,
        entities=tuple(builder.entities), relations=relations,
    )  # fmt: skip
    heads = [told.head for told in annotation.facts] or [
        mention.node for mention in annotation.mentions if mention.node >= 0
    ]
    topic = wording.type_of(max(heads, key=lambda n: (heads.count(n), -n))) if heads else ""
    named = {node for mention in annotation.mentions for node in mention.candidates}
    rng = random.Random(derive_seed(seed, f"schema/{id}"))  # noqa: S311 - nothing secret here
    return Example(
        found=found,
        evidence=tuple(told.evidence for told in annotation.facts),
        nodes=tuple(builder.nodes),
        schema=wording.asked(
            [relation.type for relation in relations], [e.type for e in found.entities],
            topic=topic, negatives=negatives, rng=rng,
        ),
        topic=topic,
        is_test=any(is_kept_for_test(index, n, share=test_share, seed=seed) for n in named),
    )  # fmt: skip


class _Builder:
    """Lists the entities of an example, each name once: linked ones, and values that facts need."""

    def __init__(self, annotation: Annotation, wording: Wording) -> None:
        self.text, self.wording = annotation.text, wording
        self.entities: list[Mention] = []
        self.nodes: list[str] = []
        self.at: dict[tuple[str, str], int] = {}
        for mention in annotation.mentions:
            if mention.node >= 0:
                type_ = wording.type_of(mention.node)
                self._entity((mention.start, mention.end), type_, mention.node)

    def _entity(self, place: Place, type_: str, node: int) -> int:
        key = (self.text[slice(*place)], type_)
        if key not in self.at:
            self.at[key] = len(self.entities)
            self.entities.append(Mention(self.text[slice(*place)], type_, *place))
            is_entity = node >= 0 and not self.wording.index.is_value[node]
            self.nodes.append(self.wording.index.ids[node] if is_entity else "")
        return self.at[key]

    def relation(self, told: Told) -> Relation:
        head = self._entity(told.head_place, self.wording.type_of(told.head), told.head)
        is_value = told.tail < 0 or bool(self.wording.index.is_value[told.tail])
        type_ = "" if told.tail < 0 else self.wording.type_of(told.tail)
        if is_value:
            type_ = self.wording.tail_type(told.relation)
        tail = self._entity(told.tail_place, type_, told.tail)
        name = self.wording.relation(told.relation, is_inverse=told.is_inverse)
        return Relation(name, tail, head) if told.is_inverse else Relation(name, head, tail)


def conversations(
    example: Example, *, formats: Sequence[str], templates: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the conversations that teach an example, in one of the formats, drawn for each text.

    Raises:
        ValueError: the format cannot say what is in the text.
    """
    rng = random.Random(derive_seed(seed, f"format/{example.found.id}"))  # noqa: S311
    form = FORMATS.get(rng.choice(list(formats)))
    asking = Asking(template=rng.randrange(templates))
    for question in form.ask(example.found.text, example.schema, asking):
        answer = write_answer(form, example.found, question)
        yield {
            "messages": [
                {"role": "user", "content": question.prompt},
                {"role": "assistant", "content": answer},
            ]
        }
