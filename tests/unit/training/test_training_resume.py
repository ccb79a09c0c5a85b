import json

import pytest

from hanlin.core.events import EventLog, read_events
from hanlin.core.stage import StageContext
from hanlin.data.pack import PackedRows
from hanlin.data.store import TokenStore
from hanlin.models.load import load_pair
from hanlin.training import resume
from hanlin.training.schedule import Schedule
from hanlin.training.trainer import Job, train


def make(folder, step, *, complete=True, tokens=0):
    path = resume.checkpoint_path(folder, step)
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights")
    if complete:
        resume.mark_complete(path, step=step, tokens=tokens)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_complete_checkpoint_counts(tmp_path):
    make(tmp_path, 9, tokens=90)
    make(tmp_path, 10, tokens=100)
    make(tmp_path, 11, complete=False)
    found = resume.latest(tmp_path)
    assert (found.path.name, found.step, found.tokens) == ("checkpoint-10", 10, 100)


def test_nothing_to_go_on_with(tmp_path):
    assert resume.latest(tmp_path / "never made") is None
    make(tmp_path, 4, complete=False)
    assert resume.latest(tmp_path) is None


def test_cleaning_deletes_what_a_kill_left(tmp_path):
    make(tmp_path, 8)
    make(tmp_path, 12, complete=False)
    (tmp_path / ".stray.part").write_text("half a file")
    resume.clean(tmp_path)
    assert names(tmp_path) == ["checkpoint-8"]


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"step": "many"}', '{"step": 3}'])
def test_a_damaged_marker_is_no_marker(tmp_path, marker):
    path = make(tmp_path, 3)
    (path / resume.MARKER).write_text(marker)
    assert resume.latest(tmp_path) is None


def test_pruning_keeps_the_newest_by_number_not_by_name(tmp_path):
    for step in (2, 9, 10, 100):
        make(tmp_path, step)
    make(tmp_path, 101, complete=False)
    resume.prune(tmp_path)
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-100", "checkpoint-101"]


class Counted:
    """Rows that know which of them were asked for."""

    def __init__(self, rows):
        self.rows, self.asked, self.rows_per_epoch = rows, [], rows.rows_per_epoch

    def row(self, index):
        self.asked.append(index)
        return self.rows.row(index)


def test_the_place_is_found_without_going_there(world, tmp_path):
    """At step a million nothing before it is read or counted over."""
    far, log = 1_000_000, EventLog(tmp_path / "events.jsonl")
    context = StageContext("t", tmp_path / "out", 0, log)

    def trained(steps):
        model, tokenizer = load_pair(world.model)
        rows = Counted(PackedRows(TokenStore.open(world.store), seq_len=48, seed=1))
        schedule = Schedule(
            steps=steps, seq_len=48, micro_batch_size=2, save_every=1, log_every=1, threads=1,
            warmup_steps=0, gradient_accumulation_steps=2,
        )  # fmt: skip
        train(Job(model, rows, tokenizer.pad_id, schedule), context)
        return rows.asked

    trained(3)
    folder = tmp_path / "out" / "checkpoints"
    path = (folder / "checkpoint-2").rename(folder / f"checkpoint-{far}")
    state = json.loads((path / "trainer_state.json").read_text())
    (path / "trainer_state.json").write_text(json.dumps({**state, "global_step": far}))
    resume.mark_complete(path, step=far, tokens=7)
    asked = trained(far + 2)
    steps = [event["step"] for event in read_events(log.path) if event["event"] == "metric"]
    assert steps == [1, 2, 3, far + 1, far + 2]
    new = [index for index in asked if index >= 4 * far]
    assert new[:8] == list(range(4 * far, 4 * far + 8))
    assert len(asked) < 60
