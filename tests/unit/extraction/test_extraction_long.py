"""Is a long text divided, gone through, put together, and gone on with after a kill?"""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from hanlin.core.errors import ResourceError
from hanlin.extraction.chunks import Chunking, chunks, joined
from hanlin.extraction.facts import Event, Extraction, Mention, Relation, read_extractions
from hanlin.extraction.job import run_job

TEXT = "".join(f"第{n}天，王明在青石镇见到了李雪。" for n in range(40))


def find_all(given):
    """Find every 王明, 李雪 and 青石镇, and that the first two know each other."""
    return [find(one) for one in given]


def find(one):
    mentions = [
        Mention(name, type_, at, at + len(name))
        for name, type_ in (("王明", "人物"), ("李雪", "人物"), ("青石镇", "城镇"))
        for at in range(len(one.text))
        if one.text.startswith(name, at)
    ]
    names = [mention.text for mention in mentions]
    relations = ()
    if {"王明", "李雪"} <= set(names):
        relations = (Relation("认识", names.index("王明"), names.index("李雪")),)
    return dataclasses.replace(one, entities=tuple(mentions), relations=relations)


@pytest.mark.parametrize("chunking", [Chunking(100, 30, 1), Chunking(64, 0, 3), Chunking(7, 2, 2)])
def test_chunks_cover_the_text_at_sentence_ends(chunking):
    spans = list(chunks(TEXT, chunking))
    assert all(0 < span.end - span.start <= chunking.max_chars for span in spans)
    passes = [i for i, span in enumerate(spans) if span.start == 0]
    assert len(passes) == chunking.passes
    for first, last in zip(passes, [*passes[1:], len(spans)], strict=True):
        own = spans[first:last]
        assert own[-1].end == len(TEXT)
        for one, other in pairwise(own):
            assert one.start < other.start <= one.end < other.end
            assert one.end - other.start <= chunking.overlap
    if chunking.max_chars > 20:
        assert all(TEXT[span.end - 1] == "。" for span in spans)
        assert len({tuple(s.end for s in spans)}) == 1
    if chunking.overlap == 30:
        assert all(b.start < a.end for a, b in pairwise(spans))


def test_a_short_text_is_one_chunk_however_many_passes():
    assert [(s.start, s.end) for s in chunks("短。", Chunking(10, 2, 3))] == [(0, 2)]
    assert [(s.start, s.end) for s in chunks("", Chunking(10, 2))] == [(0, 0)]


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="the overlap must be smaller than a chunk"):
        Chunking(10, 10)


def test_what_two_chunks_found_is_there_once():
    whole = Extraction("1", TEXT, "zh")
    spans = list(chunks(TEXT, Chunking(100, 30, 2)))
    parts = [(s.start, find(Extraction("1", TEXT[s.start : s.end], "zh"))) for s in spans]
    found = joined(whole, parts)
    direct = find(whole)
    assert {(m.type, m.start, m.end) for m in found.entities} == {
        (m.type, m.start, m.end) for m in direct.entities
    }
    assert len(found.entities) == len(direct.entities) == 120
    assert [m.start for m in found.entities] == sorted(m.start for m in found.entities)
    assert len({*found.relations}) == len(found.relations)
    for relation in found.relations:
        assert (found.named(relation.head), found.named(relation.tail)) == ("王明", "李雪")


def test_events_and_names_without_type_or_place_are_joined():
    text = "王明创办了宏远公司。"
    founder, firm = Mention("王明", "人物", 0, 2), Mention("宏远公司", "", 5, 9)
    lost = Mention("李雪", "人物", status="missing")
    trigger = Mention("创办", "成立", 2, 4)
    event = Event("成立", trigger, (("创始人", 0),))
    one = Extraction("", text, "zh", (founder, lost), (), (event,),
                     1, ("?",))  # fmt: skip
    two = Extraction("", text, "zh", (firm, dataclasses.replace(founder, type=""), lost), (),
                     (Event("成立", trigger, (("机构", 0), ("创始人", 1))),))  # fmt: skip
    found = joined(Extraction("a", text, "zh"), [(0, one), (0, two)])
    assert found.entities == (founder, firm, lost)
    assert found.events == (Event("成立", trigger, (("创始人", 0), ("机构", 1))),)
    assert (found.unreadable, found.unread) == (1, ("?",))


def texts():
    return [Extraction("long", TEXT, "zh"), Extraction("short", "王明。", "zh")]


def test_a_job_that_fails_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("hanlin.extraction.job.BATCH_SIZE", 2)
    out, chunking = tmp_path / "found.jsonl", Chunking(60, 20)
    asked = []

    def extract(given, *, limit):
        if len(asked) + len(given) > limit:
            raise KeyboardInterrupt
        asked.extend(one.text for one in given)
        return find_all(given)

    def job(limit, key="a"):
        return run_job(
            texts(), lambda g: extract(g, limit=limit), out=out, chunking=chunking, key=key
        )

    with pytest.raises(KeyboardInterrupt):
        job(6)
    assert not out.exists()
    with (tmp_path / ".found.jsonl.journal").open("a") as stream:
        stream.write('{"number": 0, "start"')  # a row that the kill cut
    steps = []
    assert run_job(texts(), lambda g: extract(g, limit=99), out=out, chunking=chunking, key="a",
                   progress=lambda *step: steps.append(step)) == 6  # fmt: skip
    total = 1 + len(list(chunks(TEXT, chunking)))
    assert steps[-1] == (total, total, "chunks") and len(asked) == total
    found = list(read_extractions(out))
    assert [one.id for one in found] == ["long", "short"] and len(found[0].entities) == 120
    assert not list(tmp_path.glob(".*"))
    asked.clear()
    assert job(99, key="b") == 0 and len(asked) == total


def test_another_key_or_text_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("hanlin.extraction.job.BATCH_SIZE", 1)
    out = tmp_path / "found.jsonl"

    def job(given, key, *, stop):
        calls = []

        def extract(batch):
            calls.append(batch)
            if len(calls) > stop:
                raise KeyboardInterrupt
            return find_all(batch)

        return run_job(given, extract, out=out, chunking=Chunking(60, 20), key=key)

    with pytest.raises(KeyboardInterrupt):
        job(texts(), "a", stop=3)
    with pytest.raises(KeyboardInterrupt):
        job(texts()[:1], "a", stop=1)
    assert job(texts()[:1], "a", stop=99) == 1


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_extraction_long import Chunking, Extraction, TEXT, find_all, run_job
import hanlin.extraction.job as job
job.BATCH_SIZE = 4
text = TEXT * 320
asked = open({log!r}, "a")
def slowly(given):
    asked.write(f"{{len(given)}}\\n"); asked.flush()
    time.sleep({pause})
    return find_all(given)
book = [Extraction("book", text, "zh")]
run_job(book, slowly, out=Path({out!r}), chunking=Chunking(1000, 100), key="k")
from hanlin.core.environment import peak_memory_bytes
print(peak_memory_bytes())
"""


def test_a_book_is_killed_and_gone_on_with_in_bounded_memory(tmp_path):
    """200,000 characters: SIGKILL in the middle, then the same again; nothing lost or repeated."""
    from pathlib import Path

    log, out = tmp_path / "asked.log", tmp_path / "found.jsonl"
    tests = str(Path(__file__).parent)

    def start(pause):
        code = KILLED.format(tests=tests, log=str(log), out=str(out), pause=pause)
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    first = start(0.02)
    while not (log.exists() and log.read_text().count("\n") > 12):
        time.sleep(0.02)
        assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not out.exists()
    second = start(0)
    peak_bytes = int(second.communicate()[0])
    assert second.returncode == 0
    assert peak_bytes < 200e6
    batches = [int(line) for line in log.read_text().split()]
    total = len(list(chunks(TEXT * 320, Chunking(1000, 100))))
    assert total <= sum(batches) <= total + 4  # the batch that was killed is asked once more
    (found,) = read_extractions(out)
    assert len(found.text) > 200_000 and len(found.entities) == 120 * 320
    assert len({(m.start, m.end) for m in found.entities}) == len(found.entities)


def test_two_processes_do_not_write_the_same_result(tmp_path):
    import fcntl

    out = tmp_path / "found.jsonl"
    with (tmp_path / ".found.jsonl.journal").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(ResourceError, match="another process is writing"):
            run_job(texts(), find_all, out=out, chunking=Chunking(), key="a")


def test_results_of_a_job_are_the_rows_that_were_found(tmp_path):
    out = tmp_path / "found.jsonl"
    run_job(texts(), find_all, out=out, chunking=Chunking(100_000, 0), key="a")
    assert list(read_extractions(out)) == find_all(texts())
    assert len([json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]) == 2
