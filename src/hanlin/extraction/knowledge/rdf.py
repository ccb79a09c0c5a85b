"""What does an RDF file say? Labels, types and triples, streamed by pyoxigraph."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.data.readers.opened import inner_name, opened
from hanlin.data.readers.rows import BadRows
from hanlin.extraction.knowledge.items import Fact, Item, Kind, Name, Signature, ValueKind

FORMATS = {
    ".ttl": "TURTLE", ".nt": "N_TRIPLES", ".nq": "N_QUADS", ".trig": "TRIG", ".rdf": "RDF_XML",
    ".owl": "RDF_XML", ".jsonld": "JSON_LD", ".n3": "N3",
}  # fmt: skip
RDFS, SKOS = "http://www.w3.org/2000/01/rdf-schema#", "http://www.w3.org/2004/02/skos/core#"
SCHEMA, XSD = "schema.org/", "http://www.w3.org/2001/XMLSchema#"
TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
INVERSE = "http://www.w3.org/2002/07/owl#inverseOf"
MAIN = {f"{RDFS}label", f"{SKOS}prefLabel", "http://xmlns.com/foaf/0.1/name", f"http://{SCHEMA}name", f"https://{SCHEMA}name"}  # noqa: E501 # fmt: skip
ALIAS = {f"{SKOS}altLabel", f"http://{SCHEMA}alternateName", f"https://{SCHEMA}alternateName"}
DATES = {f"{XSD}{name}" for name in ("date", "dateTime", "gYear", "gYearMonth")}
NUMBERS = {f"{XSD}{name}" for name in ("integer", "decimal", "double", "float", "int", "long", "nonNegativeInteger")}  # noqa: E501 # fmt: skip
ENDS = {f"{RDFS}domain": "head_type", f"{RDFS}range": "tail_type", INVERSE: "inverse"}


def read_rdf(path: Path, bad: BadRows) -> Iterator[Item]:
    """Yield what an RDF file says; blank nodes are counted as bad rows.

    Raises:
        InputError: the file is no RDF of the kind that its name says.
        MissingExtraError: pyoxigraph is not installed.
    """
    oxigraph = require("pyoxigraph", extra="extract", purpose=f"reading {path.name}")
    format_ = getattr(oxigraph.RdfFormat, FORMATS[inner_name(path).suffix.lower()])
    with opened(path) as stream:
        try:
            quads = oxigraph.parse(cast(io.BufferedIOBase, stream), format=format_)
            for number, quad in enumerate(quads, 1):
                if isinstance(quad.subject, oxigraph.NamedNode):
                    yield from _items(quad, oxigraph)
                else:
                    bad.add(str(path), number, "a blank node has no id that other files know")
        except (SyntaxError, ValueError) as error:
            raise InputError(
                f"{path} is not readable as {format_.name}",
                why=str(error),
                fix="mend the file, or give it the suffix of its format: " + ", ".join(FORMATS),
            ) from error


def _items(quad: Any, oxigraph: Any) -> Iterator[Item]:  # noqa: ANN401 - pyoxigraph's own types
    head, relation, tail = quad.subject.value, quad.predicate.value, quad.object
    if isinstance(tail, oxigraph.NamedNode):
        if relation == TYPE:
            yield Kind(head, tail.value)
        elif relation in ENDS:
            yield Signature(head, **{ENDS[relation]: tail.value})
        else:
            yield Fact(head, relation, tail.value, "entity")
    elif isinstance(tail, oxigraph.Literal) and tail.value.strip():
        language = (tail.language or "").split("-")[0]
        if relation in MAIN or relation in ALIAS:
            yield Name(head, tail.value.strip(), language, relation in MAIN)
        else:
            yield Fact(head, relation, *_value(tail.value.strip(), tail.datatype.value))


def _value(text: str, datatype: str) -> tuple[str, ValueKind]:
    if datatype in DATES:
        return text.partition("T")[0].removesuffix("Z"), "date"
    return text, "quantity" if datatype in NUMBERS else "text"
