"""Files are complete or absent; digests say what is in them."""

import json
import os
from pathlib import Path

import pytest

from hanlin.core.artifacts import Artifact
from hanlin.core.errors import HanlinError, InputError, MissingExtraError, ResourceError
from hanlin.core.events import EventLog, read_events
from hanlin.core.extras import require
from hanlin.core.files import atomic_directory, read_json, sha256, write_json, write_jsonl
from hanlin.core.registry import LazyTable
from hanlin.core.stage import derive_seed


def test_json_keeps_chinese_readable(tmp_path):
    write_json(tmp_path / "a.json", {"名": "翰林 😀"})
    assert "翰林 😀" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"名": "翰林 😀"}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_broken_json_names_the_line(tmp_path):
    (tmp_path / "a.json").write_text('{\n"a": \n}')
    with pytest.raises(InputError, match=r"a\.json:3 is not readable JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "b.json")


def test_a_failing_writer_leaves_nothing(tmp_path):
    def rows():
        yield {"a": 1}
        raise ValueError("broken source")

    with pytest.raises(ValueError, match="broken source"):
        write_jsonl(tmp_path / "a.jsonl", rows())
    with pytest.raises(ValueError, match="broken"), atomic_directory(tmp_path / "d") as folder:
        (folder / "x").write_text("x")
        raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_only_when_asked(tmp_path):
    target = tmp_path / "d"
    with atomic_directory(target) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(InputError, match="exists already"), atomic_directory(target):
        raise AssertionError("not reached")
    with atomic_directory(target, force=True) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]


def test_digest_depends_on_names_and_contents_only(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "文.txt").write_text("text")
    os.utime(tmp_path / "b/sub/文.txt", (1, 1))
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    (tmp_path / "b/sub/文.txt").rename(tmp_path / "b/sub/字.txt")
    assert sha256(tmp_path / "a") != sha256(tmp_path / "b")
    with pytest.raises(InputError, match="does not exist"):
        sha256(tmp_path / "none")


def test_an_artifact_notices_damage(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_bytes(b"12345678")
    made = Artifact.of("x", kind="model", folder=tmp_path, relative="out", made_by="base")
    assert made.is_intact(tmp_path) and made.size_bytes == 8
    (tmp_path / "out/x").write_bytes(b"12345679")
    assert not made.is_intact(tmp_path)
    with pytest.raises(InputError, match="promised the model 'none'"):
        Artifact.of("x", kind="model", folder=tmp_path, relative="none", made_by="base")


def test_a_place_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HanlinError) as caught:
        write_json(tmp_path / "file" / "a.json", {})
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(HanlinError):
        write_jsonl(Path("/proc/hanlin/x.jsonl"), [{}])


def test_a_full_disk_is_a_resource_error():
    import errno

    from hanlin.core.files import os_error

    error = os_error(OSError(errno.ENOSPC, "No space left on device"), Path("/tmp/x"))
    assert isinstance(error, ResourceError)
    assert "disk is full" in str(error) and "fix:" in str(error)
    denied = os_error(OSError(errno.EROFS, "Read-only file system"), Path("/tmp/x"))
    assert isinstance(denied, ResourceError) and "no permission" in denied.what


def test_events_survive_a_cut_line(tmp_path):
    log = EventLog(tmp_path / "run" / "events.jsonl")
    log.emit("metric", loss=1.5, text="中")
    with log.path.open("a") as stream:
        stream.write('{"event": "met')
    assert [(e["event"], e["loss"], e["text"]) for e in read_events(log.path)] == [
        ("metric", 1.5, "中")
    ]
    assert list(read_events(tmp_path / "none.jsonl")) == []


def test_a_wrong_name_is_answered_with_the_nearest_right_one():
    table = LazyTable("backend", {"llamacpp": "json:loads", "openai": "json:dumps"}, group="x.y")
    assert table.names() == ["llamacpp", "openai"] and table.get("llamacpp") is json.loads
    with pytest.raises(HanlinError) as caught:
        table.get("llamacp")
    assert "unknown backend 'llamacp'" in str(caught.value)
    assert "did you mean 'llamacpp'?" in str(caught.value) and caught.value.exit_code == 2


def test_a_missing_extra_prints_the_pip_command():
    with pytest.raises(MissingExtraError) as caught:
        require("no_such_module_here", extra="cpu", purpose="export to GGUF")
    assert 'pip install "hanlin[cpu]"' in str(caught.value) and caught.value.exit_code == 3
    assert require("json", extra="cpu", purpose="x") is json


def test_named_streams_are_independent_and_stable():
    assert derive_seed(17, "pretrain/order") == derive_seed(17, "pretrain/order")
    seeds = {derive_seed(seed, name) for seed in range(20) for name in ("a", "b", "c")}
    assert len(seeds) == 60 and all(0 <= seed < 2**31 for seed in seeds)
