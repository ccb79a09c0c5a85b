import pytest

from hanlin.training import resume


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
