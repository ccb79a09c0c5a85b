"""How do texts flow past a graph into files of instructions? In order, in blocks, resumable.

What is finished is known from a small journal beside the files: how many blocks were done, how long
each file was then, and the counts so far. A killed run cuts the files there and goes on; the result
has the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from hanlin.core.files import read_json, write_atomic, write_json, write_jsonl
from hanlin.core.stage import StageContext, derive_seed
from hanlin.data.readers import BadRows, read_documents
from hanlin.data.runners import start_workers
from hanlin.extraction.knowledge.compose import Example, conversations, make_example, passages
from hanlin.extraction.knowledge.index import GraphIndex, build
from hanlin.extraction.knowledge.link import Annotation, Linker
from hanlin.extraction.knowledge.sources import read_graph
from hanlin.extraction.knowledge.wording import wordings
from hanlin.text.script import main_script

if TYPE_CHECKING:
    from hanlin.extraction.knowledge.from_graph import Config

BLOCK = 64  # texts that are worked on at a time
SAMPLES = 20
PARTS = ("train", "test")
LANGUAGES = ("zh", "en")
Judge = Callable[[Sequence[Example]], tuple[list[Example], dict[str, int]]]


class Text(NamedTuple):
    """A passage: an id that tells its document and place, its language, and itself."""

    id: str
    language: str
    text: str


@dataclass
class Made:
    """What became of a block of texts.

    Attributes:
        lines: file below the result -> lines for it.
        counts: what was counted.
        samples: (digest, text for people) of some examples.
        bad: (id, reason) of examples that a format cannot say.
    """

    lines: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[str, str]] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)


class Maker:
    """Turns blocks of texts into examples and instructions; made once in each process."""

    def __init__(self, settings: tuple[Config, int]) -> None:
        self.config, self.seed = settings
        self.index = build(read_graph(self.config.graph, bad=BadRows(self.config.max_bad_rows)))
        self.linker = Linker(self.index, self.config.rules())
        self.wordings = wordings(self.index, languages(self.config))

    def __call__(self, texts: Sequence[Text]) -> Made:
        """Return what becomes of texts."""
        examples, counts = self.examples(texts)
        made = self.composed(examples)
        made.counts.update(counts)
        return made

    def examples(self, texts: Sequence[Text]) -> tuple[list[Example], Counter[str]]:
        """Return the examples of texts that are kept, and what was counted."""
        counts: Counter[str] = Counter({"passages": len(texts)})
        kept = []
        annotations = self.linker.annotate([text.text for text in texts])
        for text, annotation in zip(texts, annotations, strict=True):
            _count(annotation, counts)
            if not annotation.facts and _share_of(text.id, self.seed) >= self.config.empty_share:
                counts["passages without facts left out"] += 1
                continue
            kept.append(
                make_example(
                    annotation, id=text.id, wording=self.wordings[text.language],
                    negatives=self.config.negatives, test_share=self.config.test_share,
                    seed=self.seed,
                )
            )  # fmt: skip
        return kept, counts

    def composed(self, examples: Iterable[Example]) -> Made:
        """Return the lines of the files."""
        made, config = Made(), self.config
        for example in examples:
            part = "test" if example.is_test else "train"
            try:
                chats = list(
                    conversations(
                        example, formats=config.formats, templates=config.templates, seed=self.seed
                    )
                )
            except ValueError as error:
                made.bad.append((example.found.id, str(error)))
                continue
            chat_lines = made.lines.setdefault(f"{part}.jsonl", [])
            chat_lines += [json.dumps(chat, ensure_ascii=False) for chat in chats]
            row = json.dumps(example.row(), ensure_ascii=False)
            made.lines.setdefault(f"examples/{part}.jsonl", []).append(row)
            made.counts.update({f"{part} texts": 1, f"{part} conversations": len(chats)})
            made.counts.update(f"relation {r.type}" for r in example.found.relations)
            made.counts.update(f"type {e.type}" for e in example.found.entities if e.type)
            made.counts[f"topic {example.topic}"] += 1
            if example.found.relations:
                digest = hashlib.sha256(example.found.id.encode()).hexdigest()
                made.samples.append((digest, sample_of(example)))
        return made


def languages(config: Config) -> tuple[str, ...]:
    """Return the languages that texts can be of."""
    return tuple(dict.fromkeys([*LANGUAGES, *([config.language] if config.language else [])]))


def _count(annotation: Annotation, counts: Counter[str]) -> None:
    counts["mentions"] += len(annotation.mentions)
    for mention in annotation.mentions:
        counts["mentions linked"] += mention.node >= 0
        counts["mentions ambiguous, linked by context"] += (
            len(mention.candidates) > 1 and mention.node >= 0
        )
        counts["mentions ambiguous, left open"] += len(mention.candidates) > 1 > mention.node + 1
    counts["facts told"] += len(annotation.facts)
    counts.update({f"facts dropped: {why}": n for why, n in annotation.dropped.items()})


def _share_of(id_: str, seed: int) -> float:
    return derive_seed(seed, f"empty/{id_}") / 2**31


def sample_of(example: Example) -> str:
    """Return an example for people: the text, then a line for each fact."""
    found = example.found
    lines = [
        f"- {found.named(r.head)} · **{r.type}** · {found.named(r.tail)}" for r in found.relations
    ]
    heading = f"### {found.id} ({found.language}, {example.topic or 'no topic'})"
    return "\n".join([heading, "", *(f"> {line}" for line in found.text.split("\n")), "", *lines])


def read_texts(config: Config, bad: BadRows) -> Iterator[Text]:
    """Yield the passages of all texts; ids are the file's name, the line and the place.

    Of files with the same name the second one is called name~2, and so on.
    """
    names: dict[str, str] = {}
    for path in config.texts:
        for document in read_documents(path, bad=bad):
            language = document.language or config.language
            if language not in languages(config):
                language = "zh" if main_script(document.text) == "Han" else "en"
            if document.source not in names:
                stem = Path(document.source).stem
                same = sum(name.partition("~")[0] == stem for name in names.values())
                names[document.source] = f"{stem}~{same + 1}" if same else stem
            own = f"{names[document.source]}-{document.line}"
            for start, passage in passages(document.text, config.max_characters):
                yield Text(f"{own}-{start}" if start else own, language, passage)


def blocks(texts: Iterable[Text], size: int = BLOCK) -> Iterator[list[Text]]:
    """Yield texts in lists."""
    iterator = iter(texts)
    while block := list(islice(iterator, size)):
        yield block


def produce(config: Config, context: StageContext, *, judge: Judge | None = None) -> None:
    """Write everything that the stage promises.

    Args:
        config: see there.
        context: where it goes.
        judge: a model that strikes facts out or adds some; works in this process.
    """
    bad = BadRows(config.max_bad_rows)
    seed = context.stream("instruct")
    files = _Files(context.out)
    todo = islice(blocks(read_texts(config, bad)), files.done, None)
    maker = Maker((config, seed))
    if judge is not None:
        _write(_judged(maker, todo, judge), files, context)
    elif config.workers == 1 and config.engine == "local":
        _write(map(maker, todo), files, context)
    else:
        with start_workers(
            config.engine, count=config.workers, make=Maker, settings=(config, seed)
        ) as workers:
            _write(workers.map(todo), files, context)
    _finish(config, context, maker, files, bad)


def _judged(maker: Maker, todo: Iterable[Sequence[Text]], judge: Judge) -> Iterator[Made]:
    for block in todo:
        examples, counts = maker.examples(block)
        examples, more = judge(examples)
        made = maker.composed(examples)
        made.counts.update(counts)
        made.counts.update(more)
        yield made


def _write(results: Iterable[Made], files: _Files, context: StageContext) -> None:
    for made in results:
        files.add(made)
        context.progress(files.done, 0, f"{files.counts['passages']} passages")


class _Files:
    """The files of a result, and the journal that says how much of them is finished."""

    def __init__(self, out: Path) -> None:
        self.out, self.journal = out, out / ".progress.json"
        known = read_json(self.journal) if self.journal.exists() else {}
        self.done: int = known.get("done", 0)
        self.counts: Counter[str] = Counter(known.get("counts", {}))
        self.samples: list[tuple[str, str]] = [(d, t) for d, t in known.get("samples", [])]
        self.bad: list[tuple[str, str]] = [(i, r) for i, r in known.get("bad", [])]
        self.sizes: dict[str, int] = {}
        for name in (f"{folder}{part}.jsonl" for folder in ("", "examples/") for part in PARTS):
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self.sizes[name] = known.get("sizes", {}).get(name, 0)
            with path.open("r+b") as stream:
                stream.truncate(self.sizes[name])

    def add(self, made: Made) -> None:
        """Append a block and note that it is finished."""
        for name, lines in made.lines.items():
            with (self.out / name).open("ab") as stream:
                stream.write("".join(f"{line}\n" for line in lines).encode())
                self.sizes[name] = stream.tell()
        self.counts.update(made.counts)
        self.samples = sorted([*self.samples, *made.samples])[:SAMPLES]
        self.bad += made.bad
        self.done += 1
        state = {
            "done": self.done, "sizes": self.sizes, "counts": self.counts,
            "samples": self.samples, "bad": self.bad,
        }  # fmt: skip
        write_json(self.journal, state)


def _finish(
    config: Config, context: StageContext, maker: Maker, files: _Files, bad: BadRows
) -> None:
    """Write what is known only at the end."""
    for id_, reason in files.bad:
        bad.add(id_, 0, reason)
    bad.good = files.counts["train texts"] + files.counts["test texts"]
    bad.check(Path(config.texts[0]))
    write_jsonl(context.out / "bad_rows.jsonl", bad.as_records())
    schemas = {
        language: own.schema().model_dump(mode="json", exclude_defaults=True)
        for language, own in maker.wordings.items()
    }
    text = yaml.safe_dump(schemas, allow_unicode=True, sort_keys=False)
    write_atomic(context.out / "examples" / "schema.yaml", text.encode())
    write_json(context.out / "statistics.json", statistics(files.counts, maker.index))
    samples = "\n\n".join(text for _, text in files.samples)
    write_atomic(context.out / "samples.md", f"# Samples\n\n{samples}\n".encode())
    files.journal.unlink(missing_ok=True)


def statistics(counts: Counter[str], index: GraphIndex) -> dict[str, Any]:
    """Return the numbers of a run, the most frequent first where they belong together."""
    groups: dict[str, dict[str, int]] = {"relations": {}, "types": {}, "topics": {}}
    heads = {"relation ": "relations", "type ": "types", "topic ": "topics"}
    plain = {}
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        head = next((head for head in heads if name.startswith(head)), None)
        if head is None:
            plain[name] = count
        else:
            groups[heads[head]][name.removeprefix(head)] = count
    graph = {
        "entities": int((~index.is_value).sum()),
        "names": sum(map(len, index.names)),
        "facts": len(index.pair_keys) + sum(map(len, index.values.values())),
        "relations": len({relation.id for relation in index.relations}),
    }
    return {"graph": graph, "texts": dict(sorted(plain.items())), **groups}
