"""A Ray cluster of two nodes gives what one process gives, also when workers and nodes are lost."""

import json
import os
import random
import signal
import sys
import threading
import time

import pytest

from hanlin.core.errors import ConfigError, ResourceError
from hanlin.core.events import EventLog
from hanlin.core.files import list_files
from hanlin.core.stage import StageContext
from hanlin.data import prepare_chat, prepare_corpus, ray_workers
from hanlin.data.ray_workers import RayWorkers
from hanlin.models.tiny import make_tiny

ray = pytest.importorskip("ray")

PATIENCE_S = 60


@pytest.fixture(scope="module")
def cluster(ray_cluster):
    """The cluster, and this file's functions sent to it whole."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return ray_cluster


def squarer(pause_s):
    """Return what squares a number and tells where."""

    def work(number):
        time.sleep(pause_s)
        return number * number, ray.get_runtime_context().get_node_id()

    return work


def one_that_dies_once(marker):
    def work(number):
        if number == 7 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number + 1

    return work


def one_that_always_dies(_settings):
    return lambda _number: os.kill(os.getpid(), signal.SIGKILL)


def one_that_refuses(_settings):
    def work(number):
        raise ConfigError(f"{number} is not wanted", why="it is odd", fix="give another")

    return work


def test_results_come_in_order_from_both_nodes(cluster):
    with RayWorkers(make=squarer, settings=0.1) as workers:
        found = list(workers.map(range(30)))
    assert [value for value, _ in found] == [number**2 for number in range(30)]
    assert len({node for _, node in found}) == 2


def test_a_killed_worker_costs_time_only(cluster, tmp_path):
    with RayWorkers(make=one_that_dies_once, settings=tmp_path / "died") as workers:
        assert list(workers.map(range(20))) == list(range(1, 21))
    assert (tmp_path / "died").exists()


def test_a_lost_node_costs_time_only(cluster):
    third = cluster.add_node(num_cpus=1)
    found, is_lost = [], False
    with RayWorkers(make=squarer, settings=0.1) as workers:
        for value, node in workers.map(range(40)):
            found.append(value)
            if node == third.node_id and not is_lost:
                cluster.remove_node(third, allow_graceful=False)
                is_lost = True
    assert is_lost
    assert found == [number**2 for number in range(40)]


def test_an_error_of_the_work_arrives_as_it_is(cluster):
    with (
        RayWorkers(make=one_that_refuses, settings=None) as workers,
        pytest.raises(ConfigError) as caught,
    ):
        list(workers.map([3]))
    assert (caught.value.what, caught.value.fix) == ("3 is not wanted", "give another")


def test_work_that_ends_its_process_again_and_again_is_given_up(cluster, monkeypatch):
    monkeypatch.setattr(ray_workers, "RETRIES", 0)
    with (
        RayWorkers(make=one_that_always_dies, settings=None) as workers,
        pytest.raises(ResourceError, match="could not finish a part of the work") as caught,
    ):
        list(workers.map([1]))
    assert "repeat the command" in caught.value.fix


def rows(count):
    draw = random.Random(0)
    words = ["the", "old", "town", "river", "古城", "的", "老师", "写", "了", "书", "。", "."]
    return [f"{number} {' '.join(draw.choices(words, k=80))}" for number in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("ray")
    texts = rows(300)
    texts += texts[:40]
    chats = [{"instruction": text[:40], "output": text} for text in texts]
    for name, values in (("texts", [{"text": text} for text in texts]), ("chats", chats)):
        lines = (json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        (made / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    make_tiny(made / "tiny")
    return made


def prepare(stage, settings, out, **more):
    """Run a stage; return the bytes of its store."""
    out.mkdir()
    config = stage.Config.model_validate({**settings, **more})
    stage.STAGE.run(config, StageContext("x", out, 0, EventLog(out / "events.jsonl")))
    store = out / "store"
    return {f.relative_to(store).as_posix(): f.read_bytes() for f in list_files(store)}


def test_conversations_become_the_same_bytes(cluster, folder, tmp_path):
    settings = {
        "sources": [{"path": str(folder / "chats.jsonl"), "name": "chats"}],
        "tokenizer": str(folder / "tiny"),
    }
    local = prepare(prepare_chat, settings, tmp_path / "local")
    assert prepare(prepare_chat, settings, tmp_path / "ray", engine="ray") == local


def test_texts_become_the_same_bytes_though_a_node_is_lost(cluster, folder, tmp_path):
    settings = {
        "sources": [{"path": str(folder / "texts.jsonl"), "name": "texts"}],
        "tokenizer": str(folder / "tiny"),
        "shard_characters": 1000,
        "cleaning": {"near_duplicates": 0.9},
    }
    local = prepare(prepare_corpus, settings, tmp_path / "local")
    third = cluster.add_node(num_cpus=1)
    lost = []

    def lose_a_node():
        journal = tmp_path / "ray" / "journal.json"
        for _ in range(PATIENCE_S * 100):
            if journal.exists():
                break
            time.sleep(0.01)
        cluster.remove_node(third, allow_graceful=False)
        lost.append(third)

    thread = threading.Thread(target=lose_a_node)
    thread.start()
    there = prepare(prepare_corpus, settings, tmp_path / "ray", engine="ray")
    thread.join()
    assert lost
    assert there == local


def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "no-such-machine.invalid:6379")
    with pytest.raises(ResourceError, match="no Ray cluster answers at no-such-machine") as caught:
        RayWorkers(make=squarer, settings=0).__enter__()
    assert "ray start --head" in caught.value.fix
