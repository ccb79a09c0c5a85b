"""Is a graph read from tables, JSON rows, RDF and Wikidata dumps, and what is no graph refused?"""

import bz2
import gzip
import json

import pytest

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.items import Fact, Kind, Name, Signature
from hanlin.extraction.knowledge.sources import read_graph


@pytest.fixture
def read(tmp_path):
    def read_text(name, text, **settings):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return list(read_graph([path], **settings))

    return read_text


def test_tables_are_known_by_their_columns(read):
    assert read("t.tsv", "p1\tborn_in\tt1\n") == [Fact("p1", "born_in", "t1")]
    assert read("a.tsv", "p1\tzh\t人物\t王明\n") == [
        Kind("p1", "人物", "zh"),
        Name("p1", "王明", "zh"),
    ]
    assert read("n.tsv", "p1\t王明\n") == [Name("p1", "王明")]
    header = "Subject\tpredicate\tobject\tobject_type\n"
    assert read("h.tsv", header + "桃\t颜色\t红\t花朵颜色\n") == [
        Fact("桃", "颜色", "红", tail_type="花朵颜色")
    ]
    names = "relation\tlanguage\tname\tinverse\nborn_in\tzh\t出生地\tbirthplace_of\n"
    assert read("r.tsv", names) == [
        Signature("born_in", inverse="birthplace_of"), Name("born_in", "出生地", "zh"),
    ]  # fmt: skip


def test_a_row_of_json_may_hold_all_that_is_known_of_an_entity(read):
    row = {"name": "桃", "type": "植物", "aliases": ["桃树"], "triples": [["颜色", "红", "花色"]]}
    assert read("k.jsonl", json.dumps(row)) == [
        Kind("桃", "植物"), Name("桃", "桃"), Name("桃", "桃树"),
        Fact("桃", "颜色", "红", tail_type="花色"),
    ]  # fmt: skip
    row = {"id": "Q1", "names": {"zh": ["甲", "乙"], "en": "A"}}
    assert read("n.json", json.dumps([row])) == [
        Name("Q1", "甲", "zh"), Name("Q1", "乙", "zh"), Name("Q1", "A", "en"),
    ]  # fmt: skip


def test_bad_rows_are_counted_and_too_many_refused(read):
    good = "a\tr\tb\n" * 200
    bad = BadRows()
    assert len(read("t.tsv", good + "a\tr\n", bad=bad)) == 200
    assert bad.rows[0].line == 201
    with pytest.raises(InputError, match="1 of 2 rows cannot be used"):
        read("u.tsv", "a\tr\tb\n\tr\tb\n")
    with pytest.raises(InputError, match="has 7 columns between tabs") as caught:
        read("v.tsv", "1\t2\t3\t4\t5\t6\t7\n")
    assert "names of the columns" in caught.value.fix


TURTLE = """
@prefix : <http://example.org/> . @prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
:wang a :Person ; rdfs:label "王明"@zh-Hans ; skos:altLabel "小王"@zh ; :bornIn :qing ;
  :bornOn "1963-03-13"^^xsd:date ; :height "178"^^xsd:integer ; :motto "好" .
:bornIn owl:inverseOf :birthplaceOf ; rdfs:domain :Person .
"""


def test_rdf_gives_names_types_facts_and_inverses(read):
    pytest.importorskip("pyoxigraph")
    base = "http://example.org/"
    found = read("g.ttl", TURTLE)
    assert Kind(f"{base}wang", f"{base}Person") in found
    assert Name(f"{base}wang", "王明", "zh", True) in found
    assert Name(f"{base}wang", "小王", "zh", False) in found
    assert Fact(f"{base}wang", f"{base}bornIn", f"{base}qing", "entity") in found
    assert Fact(f"{base}wang", f"{base}bornOn", "1963-03-13", "date") in found
    assert Fact(f"{base}wang", f"{base}height", "178", "quantity") in found
    assert Fact(f"{base}wang", f"{base}motto", "好", "text") in found
    assert Signature(f"{base}bornIn", inverse=f"{base}birthplaceOf") in found
    assert Signature(f"{base}bornIn", head_type=f"{base}Person") in found
    with pytest.raises(InputError, match="not readable as Turtle"):
        read("bad.ttl", "this is no turtle {")


def snak(value, type_):
    return {"mainsnak": {"snaktype": "value", "datavalue": {"value": value, "type": type_}}}


DUMP = [
    {
        "id": "Q1", "type": "item",
        "labels": {"zh": {"value": "王明"}, "en": {"value": "Wang Ming"}},
        "aliases": {"zh-hans": [{"value": "小王"}]},
        "claims": {
            "P31": [snak({"id": "Q5"}, "wikibase-entityid")],
            "P19": [
                snak({"id": "Q2"}, "wikibase-entityid"),
                {**snak({"id": "Q3"}, "wikibase-entityid"), "rank": "deprecated"},
            ],
            "P569": [snak({"time": "+1963-03-13T00:00:00Z", "precision": 11}, "time")],
            "P2048": [
                snak({"amount": "+178", "unit": "http://www.wikidata.org/entity/Q174728"},
                     "quantity")
            ],
            "P214": [snak("12345", "string")],
            "P18": [{"mainsnak": {"snaktype": "novalue"}}],
        },
    },
    {"id": "P19", "labels": {"zh": {"value": "出生地"}}, "aliases": [], "claims": []},
]  # fmt: skip


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_a_wikidata_dump_is_streamed_as_it_is_packed(read, pack):
    text = "[\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in DUMP) + "\n]\n"
    suffix = {bytes: "", gzip.compress: ".gz", bz2.compress: ".bz2"}[pack]
    found = read(f"latest-all.json{suffix}", pack(text.encode()))
    assert Name("Q1", "王明", "zh", True) in found and Name("Q1", "小王", "zh") in found
    facts = [item for item in found if isinstance(item, Fact)]
    assert facts == [
        Fact("Q1", "P31", "Q5", "entity"), Fact("Q1", "P19", "Q2", "entity"),
        Fact("Q1", "P569", "1963-03-13", "date"), Fact("Q1", "P2048", "178 Q174728", "quantity"),
    ]  # fmt: skip
    assert Kind("Q1", "Q5") in found
    assert Name("P19", "出生地", "zh", True) in found


def test_a_broken_line_of_a_dump_is_a_bad_row(read):
    lines = [json.dumps(DUMP[1]) + ","] * 150 + ['{"id": "Q9", "labels": {"zh": 3}, "claims": {}}']
    bad = BadRows()
    read("d.json", "[\n" + "\n".join(lines) + "\n]", bad=bad)
    assert bad.bad == 1 and "no entity of a Wikidata dump" in bad.rows[0].reason


def test_a_store_is_a_source_too(read, tmp_path):
    items = [*read("a.tsv", "p1\tzh\t人物\t王明\n"), Fact("p1", "born_in", "t1")]
    path = tmp_path / "g.sqlite"
    GraphStore.create(path, items)
    assert sorted(map(str, read_graph([path]))) == sorted(map(str, items))


def test_what_is_no_graph_is_refused(read, tmp_path):
    with pytest.raises(InputError, match="of no kind that a graph can be read from") as caught:
        read("g.xyz", "a\tb\tc\n")
    assert "Wikidata dump" in caught.value.fix
    with pytest.raises(InputError, match="does not exist"):
        list(read_graph([tmp_path / "nothing.tsv"]))
