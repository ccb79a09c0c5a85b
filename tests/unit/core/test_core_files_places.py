"""Results never replace an input, kills leave nothing for long, refusals say what to do."""

import errno
import os
import subprocess
import sys

import pytest

from hanlin.core.errors import InputError, ResourceError
from hanlin.core.files import atomic_directory, atomic_file, os_error, read_json, work_key


@pytest.fixture
def dead_process():
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_what_a_killed_process_left_of_the_same_folder_is_swept_away(tmp_path, dead_process):
    names = (
        f".model.{dead_process}.part",
        f".model.{os.getppid()}.part",
        f".m.{dead_process}.part",
    )
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("half")
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "file").write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["model", *names[1:]])


def test_a_failed_file_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="broken"), atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "file"])
def test_an_input_is_never_replaced(tmp_path, below):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "file").write_text("kept")
    with (
        pytest.raises(InputError, match="holds the input") as caught,
        atomic_directory(folder, force=True, inputs=[folder / below]),
    ):
        raise AssertionError("nothing may be done")
    assert caught.value.fix == "give another place for the result"
    assert (folder / "file").read_text() == "kept"


def test_a_file_that_changes_makes_another_key(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    before = work_key({"x": 1}, files=[file])
    assert work_key({"x": 1}, files=[file]) == before != work_key({"x": 2}, files=[file])
    file.write_text("more")
    assert work_key({"x": 1}, files=[file]) != before


def test_a_file_system_that_takes_no_large_files(tmp_path):
    error = os_error(OSError(errno.EFBIG, "File too large"), tmp_path / "out")
    assert isinstance(error, ResourceError)
    assert "became too large" in str(error) and "ulimit -f" in error.fix


@pytest.mark.parametrize("text", ["[" * 100_000, "{", ""])
def test_json_that_cannot_be_read(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="is not readable JSON") as caught:
        read_json(tmp_path / "a.json")
    assert "download the file again" in caught.value.fix


@pytest.mark.parametrize(
    ("made_in", "found_at"),
    [
        ("models/.out.work/out", "models/out"),
        ("models/.out.work/out/a.bin", "models/out/a.bin"),
        ("models/.m.gguf.work", "models/m.gguf"),
        ("models/out.work/out", "models/out.work/out"),
    ],
)
def test_people_are_told_where_a_result_appears(tmp_path, made_in, found_at):
    error = os_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path / made_in)
    assert str(error).startswith(f"the disk is full: {tmp_path / found_at} could not be written")
