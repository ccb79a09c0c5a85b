"""Downloads over lines that break: complete and checked, or not there at all."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_server import COMMIT, serve

from hanlin.core.errors import ConfigError, InputError, ResourceError, StageFailedError
from hanlin.models.tiny import make_tiny
from hanlin.weights.download import download as download_module
from hanlin.weights.download.connection import Patience
from hanlin.weights.download.download import download
from hanlin.weights.download.listing import find_repository

QUICK = Patience(tries=4, wait_s=0.01, timeout_s=5)
FILES = {
    "config.json": b'{"model_type": "llama"}\n',
    "model.safetensors": random.Random(1).randbytes(300_000),
    "中文 notes.md": "说明".encode(),
    "sub/folder/tokenizer.model": random.Random(2).randbytes(5_000),
    "empty.txt": b"",
}


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub():
    with serve(FILES) as (address, behavior):
        yield address, behavior


def find(address, name="owner/name", **more):
    return find_repository(name, endpoint=address, patience=QUICK, **more)


def content(folder):
    """Name -> bytes of everything in a folder but the list that we write."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    return {n: p.read_bytes() for n, p in zip(names, files, strict=True) if n != "SHA256SUMS"}


def asked_for(behavior, part):
    return [headers for _, path, headers in behavior.requests if part in path]


def test_a_download_is_complete_and_checked(hub, tmp_path):
    result = download(find(hub[0]), tmp_path / "out")
    assert content(tmp_path / "out") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert result["revision"] == COMMIT and result["size_bytes"] == sum(map(len, FILES.values()))
    by = {file["path"]: file["checked_by"] for file in result["files"]}
    assert by["model.safetensors"] == "sha256" and by["config.json"] == "git"
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert f"# owner/name at {COMMIT}" in (tmp_path / "out" / "SHA256SUMS").read_text()


def test_a_line_that_breaks_is_gone_on_with(hub, tmp_path):
    address, behavior = hub
    behavior.break_after = 70_001
    download(find(address), tmp_path / "out")
    assert content(tmp_path / "out") == FILES
    ranges = [h.get("Range") for h in asked_for(behavior, "model.safetensors")]
    assert ranges == [None, *(f"bytes={70_001 * i}-" for i in range(1, 5))]


def test_a_server_without_ranges_sends_it_again(hub, tmp_path):
    address, behavior = hub
    behavior.break_after, behavior.has_ranges = 200_000, False
    with pytest.raises(StageFailedError, match=r"model\.safetensors of owner/name did not come"):
        download(find(address), tmp_path / "out")
    behavior.break_after = None
    result = download(find(address), tmp_path / "out")
    assert content(tmp_path / "out") == FILES and result["resumed_bytes"] > 200_000


def test_a_second_run_takes_what_the_first_has_brought(hub, tmp_path):
    address, behavior = hub
    repository = find(address)
    behavior.break_after = 0
    with pytest.raises(StageFailedError) as caught:
        download(repository, tmp_path / "out")
    assert "0 of 300000 bytes are here, and are kept" in caught.value.why
    assert "repeat the command" in caught.value.fix and "hf-mirror.com" in caught.value.fix
    assert not (tmp_path / "out").exists()
    behavior.break_after = None
    behavior.requests.clear()
    result = download(repository, tmp_path / "out")
    assert content(tmp_path / "out") == FILES
    assert {path.rpartition("/")[2] for _, path, _ in behavior.requests} == {"model.safetensors"}
    assert result["resumed_bytes"] == sum(map(len, FILES.values())) - 300_000


def test_a_changed_file_is_fetched_anew(hub, tmp_path):
    address, behavior = hub
    behavior.break_after = 100_000
    behavior.files["big.bin"] = random.Random(3).randbytes(250_000)
    with pytest.raises(StageFailedError):
        download(find_repository("owner/name", endpoint=address, patience=Patience(tries=1)),
                 tmp_path / "out", include=["*"])  # fmt: skip
    behavior.break_after = None
    behavior.files["model.safetensors"] = random.Random(4).randbytes(300_000)
    behavior.files["config.json"] = b'{"model_type": "mistral"}'
    del behavior.files["big.bin"]
    download(find(address), tmp_path / "out", include=["*"])
    assert content(tmp_path / "out") == behavior.files


def test_damaged_bytes_are_found_and_fetched_again(hub, tmp_path):
    address, behavior = hub
    repository = find(address)
    behavior.damage = 1
    download(repository, tmp_path / "out", include=["model.safetensors"])
    assert content(tmp_path / "out") == {"model.safetensors": FILES["model.safetensors"]}
    behavior.damage = 99
    with pytest.raises(StageFailedError, match="came twice with another digest") as caught:
        download(repository, tmp_path / "bad", include=["config.json"])
    assert "git is " in caught.value.why and "hf-mirror" in caught.value.fix
    assert not (tmp_path / "bad").exists()


def test_a_busy_server_is_asked_again(hub, tmp_path):
    address, behavior = hub
    behavior.busy, behavior.retry_after = 2, 0
    download(find(address), tmp_path / "out")
    assert content(tmp_path / "out") == FILES


def test_a_server_that_stays_busy(hub):
    address, behavior = hub
    behavior.busy = 99
    with pytest.raises(InputError, match="is too busy") as caught:
        find(address)
    assert "HTTP 503" in caught.value.why and "repeat the command" in caught.value.fix


def test_nobody_answers(tmp_path):
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9 cannot be reached") as caught:
        find("http://127.0.0.1:9")
    assert "refused" in caught.value.why
    assert "https://hf-mirror.com" in caught.value.fix and "--from modelscope" in caught.value.fix


def test_a_silent_server_counts_as_broken(hub):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match="cannot be reached") as caught:
            find_repository("owner/name", endpoint=address, patience=Patience(1, 0, 0.1))
        assert "silent" in caught.value.why


def test_offline_is_respected(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set") as caught:
        find("http://127.0.0.1:9")
    assert "local folder" in caught.value.fix


def test_the_mirror_is_the_one_of_the_moment(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", hub[0] + "/")
    repository = find_repository("owner/name", revision="v1")
    assert repository.origin == hub[0] and repository.revision == COMMIT


@pytest.mark.parametrize(
    ("status", "code", "expected", "fix"),
    [
        (401, "", "has no owner/name, or it is private", "HF_TOKEN"),
        (404, "RepoNotFound", "has no owner/name, or it is private", "check the name"),
        (404, "RevisionNotFound", "has no such revision", "/owner/name/tree/main"),
        (401, "GatedRepo", "may not be read", "accept it at"),
        (403, "", "may not be read", "accept it at"),
        (410, "", "refused owner/name: HTTP 410", "check the address"),
    ],
)
def test_what_a_refusal_means(hub, status, code, expected, fix):
    hub[1].error = (status, code)
    with pytest.raises(InputError, match=expected) as caught:
        find(hub[0])
    assert fix in caught.value.fix


def test_a_token_opens_a_private_model_and_is_never_shown(hub, monkeypatch, tmp_path):
    address, behavior = hub
    behavior.token = "hf_secret_of_mine"
    with pytest.raises(InputError, match="private") as caught:
        find(address)
    assert "no HF_TOKEN is set" in caught.value.why
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(InputError) as caught:
        find(address)
    assert "the token in HF_TOKEN may not see it" in caught.value.why
    assert "hf_another" not in f"{caught.value}{caught.value.__cause__!r}"
    monkeypatch.setenv("HF_TOKEN", " hf_secret_of_mine\n")
    repository = find(address)
    assert "secret" not in repr(repository)
    result = download(repository, tmp_path / "out")
    assert content(tmp_path / "out") == FILES and "secret" not in str(result)


def test_the_token_stays_with_its_server(hub, monkeypatch, tmp_path):
    address, behavior = hub
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_mine")
    with serve(FILES) as (elsewhere, other):
        behavior.elsewhere = elsewhere
        behavior.has_blobs = False  # sizes and digests are asked for one by one
        other.break_after = 90_000
        download(find(address), tmp_path / "out")
        assert content(tmp_path / "out") == FILES
        assert len(other.requests) == 4
        assert not any("Authorization" in headers for _, _, headers in other.requests)
    assert all("Authorization" in headers for _, _, headers in behavior.requests)


def test_the_token_is_not_sent_where_others_can_read(monkeypatch, caplog):
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_mine")
    with pytest.raises(InputError):
        find_repository("owner/name", endpoint="http://no-such-host.invalid", patience=Patience(1))
    assert "HF_TOKEN is not sent to http://no-such-host.invalid" in caplog.text
    assert "secret" not in caplog.text


def test_a_token_that_is_none_is_refused_unseen(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "my\nsecret")
    with pytest.raises(ConfigError, match="HF_TOKEN holds something that is no token") as caught:
        find("http://127.0.0.1:9")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "leads out"),
        ("/etc/passwd", "leads out"),
        ("a/../../b", "leads out"),
        ("C:evil", "leads out"),
        ("a\\b", "backslash"),
        ("a\nb", "control character"),
        ("", "leads out"),
        ("config.json/x", "there twice"),
        (".hanlin-parts/x", "that folder is ours"),
    ],
)
def test_names_that_are_not_honest(hub, name, reason):
    hub[1].files[name] = b"x"
    with pytest.raises(InputError, match="names the file") as caught:
        find(hub[0])
    assert reason in caught.value.why


@pytest.mark.parametrize(
    "answer", [b"<html>log in</html>", b"[]", b'{"siblings": 3}', b'{"siblings": [1]}']
)
def test_a_login_page_is_no_hub(hub, answer):
    hub[1].answer = answer
    with pytest.raises(InputError, match="does not answer as a hub does") as caught:
        find(hub[0])
    assert "login page" in caught.value.fix


def test_an_empty_repository(hub):
    hub[1].files.clear()
    with pytest.raises(InputError, match="owner/name holds no files"):
        find(hub[0])


def test_modelscope(hub, tmp_path, monkeypatch):
    address, behavior = hub
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", address)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-1")
    behavior.break_after = 200_000
    repository = find_repository("owner/name", source="modelscope", patience=QUICK)
    result = download(repository, tmp_path / "out")
    assert content(tmp_path / "out") == FILES
    assert {file["checked_by"] for file in result["files"]} == {"sha256"}
    assert result["revision"] == "master"
    assert behavior.requests[0][2]["Cookie"] == "m_session_id=ms-1"


def test_a_folder_of_a_web_server(hub, tmp_path):
    address, behavior = hub
    sums = "".join(f"{hashlib.md5(data).hexdigest()}  {name}\n" for name, data in FILES.items())
    behavior.files["checklist.chk"] = sums.encode()
    behavior.break_after = 250_000
    repository = find_repository(f"{address}/plain/", patience=QUICK)
    result = download(repository, tmp_path / "out")
    assert content(tmp_path / "out") == FILES
    assert {file["checked_by"] for file in result["files"]} == {"md5"}


def test_a_web_folder_without_a_list(hub):
    with pytest.raises(InputError, match="has none of SHA256SUMS") as caught:
        find_repository(f"{hub[0]}/plain", patience=QUICK)
    assert "sha256sum" in caught.value.fix
    hub[1].files["SHA256SUMS"] = b"<html>not found</html>"
    with pytest.raises(InputError, match="SHA256SUMS is no list of digests"):
        find_repository(f"{hub[0]}/plain", patience=QUICK)


def test_a_local_folder(tmp_path, caplog):
    model = make_tiny(tmp_path / "model")
    result = download(find_repository(str(model)), tmp_path / "copy")
    assert content(tmp_path / "copy") == content(model)
    by = {file["path"]: file["checked_by"] for file in result["files"]}
    assert by["model.safetensors"] == "size" and "no digest to be compared" in caplog.text

    again = download(find_repository(f"file://{tmp_path}/copy"), tmp_path / "second")
    assert {file["checked_by"] for file in again["files"]} == {"sha256"}

    (tmp_path / "copy" / "config.json").write_bytes(b"{}")
    with pytest.raises(StageFailedError, match=r"config\.json of .*copy is damaged"):
        download(find_repository(str(tmp_path / "copy")), tmp_path / "third")
    (tmp_path / "copy" / "config.json").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of the files .* first config\.json"):
        find_repository(str(tmp_path / "copy"))


@pytest.mark.parametrize("content_now", [b"less", b"more" * 1000])
def test_a_local_file_that_changes_meanwhile(tmp_path, content_now):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "config.json").write_bytes(b"x" * 100)
    repository = find_repository(str(tmp_path / "in"))
    (tmp_path / "in" / "config.json").write_bytes(content_now)
    with pytest.raises(StageFailedError, match="changed while it was copied") as caught:
        download(repository, tmp_path / "out")
    assert "it had 100 bytes" in caught.value.why and not (tmp_path / "out").exists()


def test_a_server_with_another_file_than_announced(hub, tmp_path):
    repository = find(hub[0])
    hub[1].files["model.safetensors"] *= 2
    with pytest.raises(StageFailedError, match="more bytes came than the file has"):
        download(repository, tmp_path / "out")
    hub[1].files["model.safetensors"] = b"short"
    with pytest.raises(StageFailedError, match="did not come whole"):
        download(repository, tmp_path / "out")


def test_digests_of_tensors_are_compared(tmp_path):
    from hanlin.models.tensors import open_checkpoint, write_checkpoint

    model = make_tiny(tmp_path / "model")
    checkpoint = open_checkpoint(model)
    source = tmp_path / "source"
    source.mkdir()
    write_checkpoint(
        source, list(checkpoint.specs.values()), lambda spec: checkpoint.read(spec.name)
    )
    result = download(find_repository(str(source)), tmp_path / "copy")
    by = {file["path"]: file["checked_by"] for file in result["files"]}
    assert by["model.safetensors"] == "tensors.json"
    data = bytearray((source / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (source / "model.safetensors").write_bytes(data)
    with pytest.raises(StageFailedError, match=r"is not what tensors\.json says"):
        download(find_repository(str(source)), tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_space_is_checked_before_the_first_byte(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    repository = find(hub[0])
    hub[1].requests.clear()
    with pytest.raises(ResourceError, match=r"305\.0 kB are to come .* has 1\.0 kB left"):
        download(repository, tmp_path / "out")
    assert hub[1].requests == [] and list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(hub, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    repository = find(hub[0])
    with pytest.raises(InputError, match="out exists already"):
        download(repository, tmp_path / "out")
    download(repository, tmp_path / "out", force=True)
    assert content(tmp_path / "out") == FILES
    with pytest.raises(ConfigError, match="cannot be the folder of a result"):
        download(repository, Path())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("http://", "is no address"),
        ("https://user:pw@example.org/x", "must not hold a user name or a password"),
        ("a/b/c", "neither a folder, an address nor a name"),
        ("../nothing", "neither a folder"),
        ("file://host/x", "names another machine"),
        ("http://a b/", "is no address"),
    ],
)
def test_names_that_mean_nothing(name, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        find_repository(name, patience=QUICK)
    assert caught.value.fix and "pw" not in str(caught.value)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"model\.bin is a file, not a folder"):
        find_repository(str(tmp_path / "model.bin"))
    with pytest.raises(InputError, match="gone does not exist"):
        find_repository(f"file://{tmp_path}/gone")
    with pytest.raises(ConfigError, match="--revision does not go with"):
        find_repository(str(tmp_path), revision="main")


def test_killed_at_any_moment_the_next_run_goes_on(hub, tmp_path):
    address, behavior = hub
    behavior.files["model.safetensors"] = random.Random(5).randbytes(30_000_000)
    behavior.break_after = 10_000_000
    command = [sys.executable, "-m", "hanlin", "weights", "download", "owner/name",
               str(tmp_path / "out"), "--endpoint", address, "--json"]  # fmt: skip
    parts = tmp_path / ".out.work" / "out" / ".hanlin-parts"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not any(
        part.stat().st_size >= 10_000_000 for part in parts.glob("*.part")
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out").exists()
    behavior.break_after = None
    result = download(find(address), tmp_path / "out")
    assert content(tmp_path / "out") == behavior.files
    assert result["resumed_bytes"] >= 10_000_000


def test_the_official_client_gets_the_same_from_this_server(hub, tmp_path):
    """Parity: what the test server says is what huggingface_hub understands, and so do we."""
    script = (
        "import sys; from huggingface_hub import snapshot_download\n"
        "snapshot_download('owner/name', endpoint=sys.argv[1], local_dir=sys.argv[2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, hub[0], tmp_path / "theirs"], capture_output=True, text=True,
        env={**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    download(find(hub[0]), tmp_path / "ours")
    theirs = {n: d for n, d in content(tmp_path / "theirs").items() if not n.startswith(".cache/")}
    assert content(tmp_path / "ours") == theirs == FILES


def test_a_manifest_of_somebody_else_is_a_file_like_others(tmp_path):
    make_tiny(tmp_path / "here")
    (tmp_path / "here" / "tensors.json").write_text('{"tensors": ["a list of theirs"]}')
    result = download(find_repository(str(tmp_path / "here")), tmp_path / "out")
    assert {file["checked_by"] for file in result["files"]} == {"size"}
