"""A folder that survives a kill and is handed in again to the same command."""

import fcntl

import pytest

from hanlin.core.errors import InputError, ResourceError, StageFailedError
from hanlin.core.files import resumable_directory, work_journal, write_json


class StoppedError(RuntimeError):
    """Something that interrupts."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def interrupt(out, key="k", *, file="a", error=StoppedError):
    with pytest.raises(error), resumable_directory(out, key=key) as folder:
        if file:
            (folder / file).write_text(key)
        raise error("stop")


def test_finished_folder_is_all_that_is_left(tmp_path):
    with resumable_directory(tmp_path / "out", key="k") as folder:
        assert not (tmp_path / "out").exists()
        (folder / "a").write_text("a")
        write_json(work_journal(folder), ["a"])
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["a"]


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt, ResourceError])
def test_the_same_key_finds_what_was_written(tmp_path, error):
    interrupt(tmp_path / "out", error=error)
    assert names(tmp_path) == [".out.work"]
    with resumable_directory(tmp_path / "out", key="k") as folder:
        assert names(folder) == ["a"]
        (folder / "b").write_text("b")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["a", "b"]


def test_another_key_begins_anew(tmp_path):
    interrupt(tmp_path / "out")
    with resumable_directory(tmp_path / "out", key="other") as folder:
        assert names(folder) == [] and work_journal(folder).parent == folder.parent
        assert not work_journal(folder).exists()
        (folder / "b").write_text("b")
    assert names(tmp_path / "out") == ["b"]


def test_half_written_files_are_swept_away(tmp_path):
    interrupt(tmp_path / "out", file=".config.json.123.part")
    with resumable_directory(tmp_path / "out", key="k") as folder:
        assert names(folder) == []
        (folder / "a").write_text("a")


def test_nothing_is_kept_where_nothing_was_written_or_the_input_was_wrong(tmp_path):
    interrupt(tmp_path / "out", file=None)
    assert names(tmp_path) == []
    interrupt(tmp_path / "out", error=InputError)
    assert names(tmp_path) == []
    interrupt(tmp_path / "out", error=StageFailedError)
    assert names(tmp_path) == [".out.work"]


def test_what_exists_is_replaced_only_when_asked(tmp_path):
    out = tmp_path / "out"
    for content in ("old", "new"):
        with resumable_directory(out, key=content, force=content == "new") as folder:
            (folder / content).write_text(content)
    assert names(out) == ["new"]
    with pytest.raises(InputError, match="exists already"), resumable_directory(out, key="x"):
        raise AssertionError("not reached")
    assert names(tmp_path) == ["out"]


def test_two_processes_do_not_write_the_same_folder(tmp_path):
    (tmp_path / ".out.work").mkdir()
    with (tmp_path / ".out.work" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(ResourceError, match=r"another process is writing .*/out") as caught,
            resumable_directory(tmp_path / "out", key="k"),
        ):
            raise AssertionError("not reached")
    assert "fix: wait for it" in str(caught.value)


def test_journal_is_for_resumable_folders_only(tmp_path):
    write_json(tmp_path / "key.json", {})
    assert work_journal(tmp_path / "model") is None
    with resumable_directory(tmp_path / "out", key="k") as folder:
        journal = work_journal(folder / "model")
        assert journal is not None and journal == work_journal(folder)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="is a file"),
        resumable_directory(tmp_path / "file" / "out", key="k"),
    ):
        raise AssertionError("not reached")
