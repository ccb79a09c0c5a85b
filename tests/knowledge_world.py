"""The sample world as a graph with names for its relations: for tests of knowledge."""

from pathlib import Path

from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext
from hanlin.data.sample_world.stage import STAGE, Config

RELATIONS = {
    "born_in": ("出生地", "birthplace"), "profession": ("职业", "profession"),
    "birth_year": ("出生年份", "birth year"), "works_for": ("雇主", "employer"),
    "food": ("喜欢的食物", "favorite food"), "lies_on": ("河流", "river"),
    "specialty": ("特产", "specialty"), "flows_into": ("流入地", "mouth"),
    "headquartered_in": ("总部", "headquarters"), "product": ("产品", "product"),
    "founder": ("创始人", "founder"), "author": ("作者", "author"), "subject": ("题材", "subject"),
    "published": ("写作年份", "year of publication"), "held_in": ("举办地", "venue"),
    "held_year": ("创办年份", "first year"), "organizer": ("主办方", "organizer"),
}  # fmt: skip


def make_world(folder: Path, *, people: int = 14) -> Path:
    """Make a small sample world with a table of relations and few texts; return its folder."""
    world = folder / "world"
    config = Config(people=people, rounds=6, extraction_train=2, extraction_test=2)
    STAGE.run(config, StageContext("world", world, 7, EventLog(folder / "events.jsonl")))
    lines = ["relation\tlanguage\tname"]
    for relation, (zh, en) in RELATIONS.items():
        lines += [f"{relation}\tzh\t{zh}", f"{relation}\ten\t{en}"]
    for text in (world / "corpus").iterdir():  # enough for every relation
        lines_of = text.read_text(encoding="utf-8").splitlines(keepends=True)
        text.write_text("".join(lines_of[:130]), encoding="utf-8")
    (world / "graph" / "relations.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return world
