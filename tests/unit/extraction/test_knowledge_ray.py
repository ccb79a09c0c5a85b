"""Does a Ray cluster of two nodes make the same instructions as one process?"""

import pytest

from hanlin.core.config import InputPath
from hanlin.core.events import EventLog
from hanlin.core.files import list_files
from hanlin.core.stage import StageContext
from hanlin.extraction.knowledge.from_graph import STAGE, Config
from knowledge_world import make_world

pytest.importorskip("ahocorasick_rs")


def test_two_nodes_give_the_same_bytes(ray_cluster, tmp_path):
    world = make_world(tmp_path)
    results = []
    for engine in ("local", "ray"):
        out = tmp_path / engine
        out.mkdir()
        config = Config(
            graph=[InputPath(world / "graph")], texts=[InputPath(world / "corpus")], engine=engine
        )
        STAGE.run(config, StageContext("x", out, 5, EventLog(tmp_path / "events.jsonl")))
        results.append({f.relative_to(out).as_posix(): f.read_bytes() for f in list_files(out)})
    assert results[0] == results[1]
    assert len(results[0]["train.jsonl"]) > 10_000
