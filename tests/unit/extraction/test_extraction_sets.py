"""Is every public set read, asked in every form, read back and scored 1.0 against itself?

A sample of each set; all rows of all sets: benchmarks/extraction_sets.py.
"""

import json

import pytest

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows
from hanlin.extraction.align import align
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import Asking, counts, merged, said, write_answer
from hanlin.extraction.formats.iepile import IEPILE
from hanlin.extraction.metrics import f1
from hanlin.extraction.readers import READERS, read_set
from hanlin.extraction.readers.detect import detect_set
from hanlin.extraction.readers.iepile_instructions import question_of
from hanlin.extraction.schema_from import schema_of

pytestmark = pytest.mark.real_data
SETS = {  # file: reader, examples, entities, relations, events
    "ie/ner/cluener_dev.jsonl": ("cluener", 1000, 2219, 0, 0),
    "ie/ner/msra_val.bio": ("bio", 2792, 4771, 0, 0),
    "ie/ner/people_daily_dev.bio": ("bio", 2318, 3819, 0, 0),
    "ie/ner/weibo_train.conll": ("bio", 1270, 1762, 0, 0),
    "ie/ner/wnut17_train.conll": ("bio", 3394, 1975, 0, 0),
    "ie/re/finre_valid.tsv": ("nre-tsv", 676, 997, 1103, 0),
    "ie/re/sanwen_valid.tsv": ("nre-tsv", 1108, 2394, 1283, 0),
    "ie/re/landscape_plants_dev.jsonl": ("spo", 1888, 7787, 5907, 0),
    "ie/ee/fewfc_train_base.jsonl": ("fewfc", 2643, 11099, 0, 4576),
    "ie/ee/phee_train.jsonl": ("phee", 966, 4507, 0, 1144),
    "kg/redocred_dev.jsonl": ("redocred", 300, 7908, 10642, 0),
    "ie/iepile/NER_sample.json": ("iepile-raw", 6, 3, 0, 0),
    "ie/iepile/SPO_sample.json": ("iepile-raw", 5, 12, 6, 0),
    "ie/iepile/KG_sample.json": ("iepile-raw", 5, 33, 32, 0),
    "ie/iepile/EE_sample.json": ("iepile-raw", 6, 10, 0, 9),
    "ie/iepile/RE_train.json": ("iepile", 72, 18, 9, 0),
    "ie/iepile/KG_train.json": ("iepile", 5, 33, 32, 0),
    "ie/iepile/EET_train.json": ("iepile", 96, 0, 0, 9),
    "ie/iepile/EEA_train.json": ("iepile", 6, 10, 0, 9),
    "ie/deepke_icl/rte_en.json": ("deepke-icl", 1, 7, 6, 0),
    "ie/deepke_icl/ee_cn.json": ("deepke-icl", 1, 4, 0, 2),
}
SAMPLE = 8  # texts of each set that are asked in every form


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_read_whole_and_every_form_gives_it_back(name, real_data):
    kind, *counts = SETS[name]
    bad = BadRows()
    examples = list(read_set(real_data / name, bad=bad))
    assert detect_set(real_data / name) == kind and bad.bad == 0
    parts = (
        sum(len(getattr(e, part)) for e in examples) for part in ("entities", "relations", "events")
    )
    assert [len(examples), *parts] == counts
    language = examples[0].language
    found = [
        e for e in examples if e.language == language and (e.relations or e.events or e.entities)
    ]
    gold = found[:: max(1, len(found) // SAMPLE)][:SAMPLE]
    schema = schema_of(gold, language=language)
    for form in map(FORMATS.get, FORMATS):
        if form.name != "cutegpt":
            back = [through(form, example, schema) for example in gold]
            asked = [kept(form, example, schema) for example in gold]
            scores = f1(asked, back, samples=1)
            assert {part: score.f1 for part, score in scores.items()} == dict.fromkeys(scores, 1.0)
            assert sum(one.unreadable for one in back) == 0


def through(form, example, schema):
    """Write the answers that say what an example holds, and read and ground them again."""
    questions = form.ask(example.text, schema, Asking(gold=example))
    answers = [(q, write_answer(form, example, q)) for q in questions]
    parsed = merged((q, form.read(answer, q)) for q, answer in answers)
    return align(parsed, example.text, id=example.id, language=example.language)


def kept(form, example, schema):
    """The part of an example that a form has tasks for, all of it where it has."""
    questions = form.ask(example.text, schema, Asking(gold=example))
    meant = align(merged((q, said(example, q)) for q in questions), example.text)
    everything = f1([example], [meant], samples=1)["overall"].f1
    assert everything == 1.0, f"{form.name} leaves something of {example.id} out"
    return example


def test_every_reader_is_used_by_a_set():
    assert {kind for kind, *_ in SETS.values()} == set(READERS) - {"hanlin"}


def test_instructions_of_iepile_are_written_as_they_were(real_data):
    """The answers that we write to IEPile's own questions say the same as theirs."""
    seen = 0
    for path in sorted((real_data / "ie/iepile").glob("*_train.json")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row, example in zip(rows, read_set(path), strict=True):
            question = question_of(row)
            ours = write_answer(IEPILE, example, question)
            theirs = IEPILE.read(row["output"], question)
            assert counts(IEPILE.read(ours, question)) == counts(theirs)
            if row["task"] != "KG":  # where entities without attributes are left out
                assert json.loads(ours) == json.loads(row["output"])
            seen += 1
    assert seen == 304


def test_names_without_a_text_are_no_examples(real_data):
    with pytest.raises(InputError, match="names without the text that they stand in"):
        list(read_set(real_data / "ie/deepke_icl/ner_cn.json"))
    with pytest.raises(InputError, match="the form of no data set that is known"):
        list(read_set(real_data / "ie/iepile/NER_schema.json"))
