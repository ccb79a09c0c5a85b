"""How good and how fast are instructions made from a graph? Three graphs, their texts, their gold.

    python benchmarks/knowledge.py [--data ../shared/data] [--aliases 1000000]

1. Chinese plants and Re-DocRED: precision, recall and F1 of the facts that are told, against the
   gold, next to plain string matching in the same run: a fact counts as told where a name of its
   head and a name of its tail are anywhere in the text. Both graphs are the union of their texts'
   gold, so this measures mentions, links and filters, and not what a graph does not know.
2. Countries and the Factbook (no gold): statistics and 20 samples.
3. Speed with many aliases: documents per second of the bare automaton (ahocorasick-rs, leftmost
   longest, no word borders), of our mentions, and of all up to facts with places; memory.
4. Stores: SQLite, oxigraph and DuckDB load the same facts and answer the same look-ups.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from hanlin.core import environment
from hanlin.core.files import read_json, write_atomic, write_json
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows
from hanlin.extraction.knowledge.compose import passages
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.index import GraphIndex, build
from hanlin.extraction.knowledge.items import Fact, Item, Kind, Name
from hanlin.extraction.knowledge.link import Linker
from hanlin.extraction.knowledge.mentions import MentionFinder
from hanlin.extraction.knowledge.rules import Rules
from hanlin.extraction.knowledge.sources import read_graph

RESULT = Path(__file__).parent / "results" / "knowledge.json"
SAMPLES = 20
Facts = set[tuple[str, ...]]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON or JSON-lines file."""
    return [row for _, row in read_values(path, BadRows())]


def score(predicted: Sequence[Facts], gold: Sequence[Facts]) -> dict[str, float]:
    """Return precision, recall and F1 over all texts."""
    right = sum(len(p & g) for p, g in zip(predicted, gold, strict=True))
    found, wanted = sum(map(len, predicted)), sum(map(len, gold))
    return {
        "precision": round(right / found, 4), "recall": round(right / wanted, 4),
        "f1": round(2 * right / (found + wanted), 4), "found": found, "gold": wanted,
    }  # fmt: skip


def plain_facts(index: GraphIndex, text: str) -> Iterator[tuple[str, int, str]]:
    """Yield (name of head, relation, name of tail) of all facts whose ends are in a text."""
    count = len(index.ids)
    inside = {
        node: [name for name, _ in names if name in text] for node, names in enumerate(index.names)
    }
    for key, relation in zip(index.pair_keys.tolist(), index.pair_relations.tolist(), strict=True):
        head, tail = divmod(key, count)
        if head != tail:
            for head_name in inside[head]:
                for tail_name in inside[tail]:
                    yield head_name, relation, tail_name


def plants(data: Path) -> dict[str, Any]:
    """Score the Chinese plants: (subject, predicate, object, type of object) as strings."""
    texts = rows_of(data / "ie" / "re" / "landscape_plants_dev.jsonl")
    index = build(read_graph([data / "kg" / "plants_kg_zh.jsonl"]))
    gold = [
        {
            (s["subject"], s["predicate"], s["object"], s["object_type"])
            for s in row["spo_list"]
            if s["predicate"] != "别称"  # an alias: it is a name in the graph, and no fact
        }
        for row in texts
    ]

    def named(head: str, relation: int, tail: str) -> tuple[str, ...]:
        one = index.relations[relation]
        return head, one.id, tail, one.tail_type

    plain = [{named(*fact) for fact in plain_facts(index, row["text"])} for row in texts]
    result: dict[str, Any] = {"texts": len(texts), "plain": score(plain, gold)}
    for name, rules in (("default", Rules()), ("names_of_one_character", Rules(shortest=(1, 2)))):
        found = []
        for one in Linker(index, rules).annotate([row["text"] for row in texts]):
            places = [
                (one.text[slice(*f.head_place)], f.relation, one.text[slice(*f.tail_place)])
                for f in one.facts
            ]
            found.append({named(*fact) for fact in places})
        result[name] = score(found, gold)
    return result


def redocred(data: Path) -> dict[str, Any]:
    """Score Re-DocRED: (entity, relation, entity); one graph of all documents."""
    documents = rows_of(data / "kg" / "redocred_dev.jsonl")
    owner = _merged(documents)
    index = build(_redocred_items(documents, owner))
    texts = [" ".join(t for s in row["sents"] for t in s) for row in documents]
    gold = [
        {(owner[at, f["h"]], f["r"], owner[at, f["t"]]) for f in row["labels"]}
        for at, row in enumerate(documents)
    ]
    whose: dict[str, set[str]] = {}
    for node, names in enumerate(index.names):
        for name, _ in names:
            whose.setdefault(name, set()).add(index.ids[node])
    heads: dict[str, list[tuple[str, str]]] = {}
    for row in gold:
        for head, relation, tail in row:
            heads.setdefault(head, []).append((relation, tail))
    plain = []
    for text in texts:
        inside = {id_ for name, ids in whose.items() if name in text for id_ in ids}
        told = ((h, r, t) for h in inside for r, t in heads.get(h, ()) if t in inside and t != h)
        plain.append(set(told))
    found = [
        {(index.ids[f.head], index.relations[f.relation].id, index.ids[f.tail]) for f in one.facts}
        for one in Linker(index, Rules()).annotate(texts)
    ]
    return {
        "documents": len(texts), "entities": len(set(owner.values())),
        "plain": score(plain, gold), "default": score(found, gold),
    }  # fmt: skip


def _merged(documents: Sequence[dict[str, Any]]) -> dict[tuple[int, int], str]:
    """Say which entities of different documents are one.

    Places, times and numbers are that share any name; others that share their longest one.
    """
    parents: dict[tuple[int, int], tuple[int, int]] = {}

    def root(one: tuple[int, int]) -> tuple[int, int]:
        while parents.setdefault(one, one) != one:
            one = parents[one]
        return one

    first: dict[tuple[str, str], tuple[int, int]] = {}
    for at, row in enumerate(documents):
        for number, mentions in enumerate(row["vertexSet"]):
            type_, names = mentions[0]["type"], {mention["name"] for mention in mentions}
            if type_ not in ("LOC", "TIME", "NUM"):
                names = {max(sorted(names), key=len)}
            for name in sorted(names):
                other = first.setdefault((type_, name), (at, number))
                parents[root((at, number))] = root(other)
    return {one: "{}-{}".format(*root(one)) for one in list(parents)}


def _redocred_items(
    documents: Sequence[dict[str, Any]], owner: dict[tuple[int, int], str]
) -> Iterator[Item]:
    for at, row in enumerate(documents):
        for number, mentions in enumerate(row["vertexSet"]):
            yield Kind(owner[at, number], mentions[0]["type"])
            written = {
                " ".join(row["sents"][m["sent_id"]][m["pos"][0] : m["pos"][1]]) for m in mentions
            }
            for name in sorted(written | {m["name"] for m in mentions}, key=lambda n: (-len(n), n)):
                yield Name(owner[at, number], name)
        for label in row["labels"]:
            yield Fact(owner[at, label["h"]], label["r"], owner[at, label["t"]], "entity")


def countries(data: Path, folder: Path) -> tuple[dict[str, Any], str]:
    """Make instructions from countries and the Factbook; return statistics and samples."""
    from hanlin.core.config import InputPath
    from hanlin.extraction.knowledge.from_graph import Config
    from hanlin.pipeline.run import run_single

    graph = folder / "countries.jsonl"
    lines = (json.dumps(row, ensure_ascii=False) for row in country_rows(data))
    graph.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = Config(
        graph=[InputPath(graph)],
        texts=[InputPath(data / "kg" / "factbook_country_texts.jsonl")],
        formats=["lines", "json", "iepile"],
    )
    out = run_single("graph-instruct", config, out=folder / "countries", seed=1)
    return read_json(out / "statistics.json"), (out / "samples.md").read_text(encoding="utf-8")


def country_rows(data: Path) -> Iterator[dict[str, Any]]:
    """Yield the graph of countries as rows: names in English and Chinese, and facts."""
    found = json.loads((data / "kg" / "countries_kg.json").read_text(encoding="utf-8"))
    codes = {one["cca3"]: one["name"]["common"] for one in found}
    for one in found:
        name = one["name"]["common"]
        aliases = [one["name"]["official"], *(s for s in one["altSpellings"] if len(s) > 3)]
        demonyms = [d for d in one.get("demonyms", {}).values() if d]
        yield {
            "id": name, "type": "country",
            "names": {"en": [name, *aliases, *demonyms], "zh": list(one.get("zho", {}).values())},
        }  # fmt: skip
        tails = {
            "capital": (one["capital"], "city"), "continent": ([one["region"]], "region"),
            "region": ([one.get("subregion", "")], "region"),
            "official language": (one["languages"].values(), "language"),
            "currency": ([c["name"] for c in one["currencies"].values()], "currency"),
            "shares border with": ([codes[code] for code in one["borders"]], ""),
        }  # fmt: skip
        for relation, (values, type_) in tails.items():
            for value in filter(None, values):
                yield {"head": name, "relation": relation, "tail": value, "tail_type": type_}


def speed(data: Path, aliases: int) -> list[dict[str, Any]]:
    """Time the bare automaton, our mentions, and all up to facts, on the same texts in turn."""
    import ahocorasick_rs

    zh = [row["text"] for row in rows_of(data / "corpus" / "wikipedia_zh_extracts.jsonl")]
    en = (data / "corpus" / "en_wiki_demo.txt").read_text(encoding="utf-8").split("\n")
    names = made_up_names(zh, en, aliases)
    before = peak()
    started = time.perf_counter()
    finder = MentionFinder(names)
    seconds, added = time.perf_counter() - started, peak() - before
    bare = ahocorasick_rs.AhoCorasick(
        names, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest, store_patterns=False
    )
    rng = random.Random(1)  # noqa: S311 - nothing secret here
    items = [Name(f"e{n}", name) for n, name in enumerate(names)]
    items += [
        Fact(f"e{rng.randrange(len(names))}", "r", f"e{n}", "entity")
        for n in range(0, len(names), 3)
    ]
    linker = Linker(build(items), Rules())
    linker.finder = finder
    results = []
    read = {
        language: [part for text in texts for _, part in passages(text, 2000)]
        for language, texts in (("zh", zh), ("en", en))
    }
    for language, parts in (*read.items(), ("both", [*read["zh"], *read["en"]])):
        ways: dict[str, Callable[[], object]] = {
            "bare": lambda p=parts: [bare.find_matches_as_indexes(text) for text in p],
            "mentions": lambda p=parts: [finder.find_joined("\n".join(b)) for b in blocks(p)],
            "facts": lambda p=parts: [list(linker.annotate(b)) for b in blocks(p)],
        }
        times = {name: [] for name in ways}
        for _ in range(7):
            for name, way in ways.items():
                way()  # brings its own automaton into the caches, as in a run of it alone
                started = time.process_time()  # one thread: other work does not count
                way()
                times[name].append(time.process_time() - started)
        row: dict[str, Any] = {"language": language, "documents": len(parts), "aliases": len(names)}
        row["characters_each"] = round(sum(map(len, parts)) / len(parts))
        row["mentions_each"] = round(sum(map(len, finder.find(parts))) / len(parts), 1)
        for name, own in times.items():
            row[f"{name}_documents_per_s"] = round(len(parts) / min(own))
            ratios = [a / b for a, b in zip(times["bare"], own, strict=True)]
            row[f"{name}_ratio_median"] = round(median(ratios), 3)
        row |= {"build_s": round(seconds, 1), "memory_mb": round(added / 1e6)}
        results.append(row)
    return results


def blocks(texts: Sequence[str], size: int = 64) -> Iterator[list[str]]:
    """Yield texts as the stage works on them."""
    for start in range(0, len(texts), size):
        yield list(texts[start : start + size])


def made_up_names(zh: Iterable[str], en: Iterable[str], count: int) -> list[str]:
    """Return different names: half of Chinese characters, half of capitalized English words.

    Both are drawn from the texts, so that some of them stand there.
    """
    rng = random.Random(0)  # noqa: S311 - nothing secret here
    characters = [c for text in zh for c in text if "\u4e00" <= c <= "\u9fff"]
    cleaned = (word.strip('.,()"') for text in en for word in text.split())
    words = sorted({word for word in cleaned if word.isalpha() and word[0].isupper()})
    names = set(words)
    while len(names) < count // 2:
        names.add(" ".join(rng.choices(words, k=rng.choice([2, 2, 3]))))
    while len(names) < count:
        names.add("".join(rng.choices(characters, k=rng.choice([2, 3, 3, 4, 4, 5]))))
    return sorted(names)


def peak() -> int:
    """Return the peak memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def stores(folder: Path, count: int = 200_000) -> list[dict[str, Any]]:
    """Load the same facts into three stores and look the same things up."""
    rng = random.Random(0)  # noqa: S311 - nothing secret here
    entities = count // 5
    facts = [
        (rng.randrange(entities), rng.randrange(200), rng.randrange(entities)) for _ in range(count)
    ]
    heads = [facts[rng.randrange(count)][0] for _ in range(200)]
    results = []
    for name, load in (("sqlite", _sqlite), ("oxigraph", _oxigraph), ("duckdb", _duckdb)):
        path = folder / name
        started = time.perf_counter()
        names_of, tails_of = load(path, facts, entities)
        loaded = time.perf_counter() - started
        row = {"store": name, "facts": count, "load_s": round(loaded, 1)}
        for what, look, keys in (
            ("name", names_of, [f"name {h}" for h in heads]),
            ("facts_of", tails_of, [f"e{h}" for h in heads]),
        ):
            started = time.perf_counter()
            found = [len(look(key)) for key in keys]
            assert min(found) > 0
            row[f"{what}_us"] = round((time.perf_counter() - started) / len(keys) * 1e6)
        files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
        row["mb"] = round(sum(f.stat().st_size for f in files) / 1e6, 1)
        results.append(row)
        shutil.rmtree(path, ignore_errors=True)
    return results


Look = Callable[[str], list[Any]]


def _sqlite(path: Path, facts: Sequence[tuple[int, int, int]], entities: int) -> tuple[Look, Look]:
    items: list[Item] = [Fact(f"e{h}", f"r{r}", f"e{t}", "entity") for h, r, t in facts]
    GraphStore.create(path, [*items, *(Name(f"e{n}", f"name {n}") for n in range(entities))])
    own = sqlite3.connect(path)
    return (
        lambda name: own.execute("SELECT id FROM names WHERE folded = ?", (name,)).fetchall(),
        lambda id_: own.execute(
            "SELECT relation, tail FROM facts WHERE head = ?", (id_,)
        ).fetchall(),
    )


def _oxigraph(
    path: Path, facts: Sequence[tuple[int, int, int]], entities: int
) -> tuple[Look, Look]:
    import pyoxigraph as ox

    store, called = ox.Store(str(path)), ox.NamedNode("x:name")
    node = lambda id_: ox.NamedNode(f"x:{id_}")  # noqa: E731
    store.bulk_extend(ox.Quad(node(f"e{h}"), node(f"r{r}"), node(f"e{t}")) for h, r, t in facts)
    store.bulk_extend(
        ox.Quad(node(f"e{n}"), called, ox.Literal(f"name {n}")) for n in range(entities)
    )
    store.flush()
    return (
        lambda name: list(store.quads_for_pattern(None, called, ox.Literal(name))),
        lambda id_: list(store.quads_for_pattern(node(id_), None, None)),
    )


def _duckdb(path: Path, facts: Sequence[tuple[int, int, int]], entities: int) -> tuple[Look, Look]:
    import duckdb
    import pyarrow

    own = duckdb.connect(str(path))
    columns = zip(*((f"e{h}", f"r{r}", f"e{t}") for h, r, t in facts), strict=True)
    table = pyarrow.table(dict(zip(("head", "relation", "tail"), columns, strict=True)))
    ids = [f"e{n}" for n in range(entities)]
    names = pyarrow.table({"id": ids, "name": [f"name {n}" for n in range(entities)]})
    own.register("given", table)
    own.register("called", names)
    own.execute(
        "CREATE TABLE facts AS SELECT * FROM given ORDER BY head; "
        "CREATE TABLE names AS SELECT * FROM called; CREATE INDEX f ON facts (head); "
        "CREATE INDEX n ON names (name); CHECKPOINT"
    )
    return (
        lambda name: own.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchall(),
        lambda id_: own.execute(
            "SELECT relation, tail FROM facts WHERE head = ?", (id_,)
        ).fetchall(),
    )


def main() -> None:
    """Measure, write the result and the samples."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--aliases", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["quality", "speed", "stores"])
    given = parser.parse_args()
    result = read_json(RESULT) if RESULT.exists() else {}
    result["machine"] = environment.describe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.only in (None, "quality"):
            result["plants"], result["redocred"] = plants(given.data), redocred(given.data)
            result["countries"], samples = countries(given.data, folder)
            write_atomic(RESULT.with_name("knowledge_samples.md"), samples.encode())
        if given.only in (None, "stores"):
            result["stores"] = stores(folder)
        if given.only in (None, "speed"):
            result["speed"] = speed(given.data, given.aliases)
    write_json(RESULT, result)
    print(
        json.dumps(
            {k: v for k, v in result.items() if k != "machine"}, ensure_ascii=False, indent=1
        )
    )


if __name__ == "__main__":
    main()
