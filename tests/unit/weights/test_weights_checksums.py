"""Lists of digests as sha256sum, md5sum and Meta's downloads write them."""

import hashlib
import subprocess

import pytest

from hanlin.core.errors import InputError
from hanlin.weights.checksums import Digest, list_text, parse_list, read_list


def test_lists_of_the_real_tools(tmp_path):
    (tmp_path / "权重.bin").write_bytes(b"weights")
    (tmp_path / "b c.txt").write_bytes(b"")
    for tool, kind in (("sha256sum", "sha256"), ("md5sum", "md5"), ("sha1sum", "sha1")):
        for flag in ("--text", "--binary"):
            done = subprocess.run(
                [tool, flag, "权重.bin", "./b c.txt"], cwd=tmp_path, capture_output=True
            )
            assert dict(parse_list(done.stdout)) == {
                "权重.bin": Digest(kind, hashlib.new(kind, b"weights").hexdigest()),
                "b c.txt": Digest(kind, hashlib.new(kind, b"").hexdigest()),
            }


def test_comments_and_upper_case():
    digits = hashlib.md5(b"x").hexdigest()
    assert parse_list(f"# made yesterday\n\n{digits.upper()} *x\r\n".encode()) == [
        ("x", Digest("md5", digits))
    ]


@pytest.mark.parametrize("data", [b"<html>", b"abc  file", b"\xff\xfe", b"0" * 64])
def test_what_is_no_list(data):
    assert parse_list(data) is None


def test_what_a_file_is_refused_for(tmp_path):
    list_file = tmp_path / "SHA256SUMS"
    list_file.write_text("what is this\n")
    with pytest.raises(InputError, match="SHA256SUMS is no list of digests") as caught:
        read_list(list_file)
    assert "sha256sum" in caught.value.fix
    list_file.write_text(f"{'a' * 32}  x\n{'b' * 32}  x\n")
    with pytest.raises(InputError, match="has the digest of a file twice"):
        read_list(list_file)


def test_our_list_reads_as_one():
    text = list_text({"b": "b" * 64, "a": "a" * 64}, comment="owner/name")
    assert text.startswith("# owner/name\n" + "a" * 64 + "  a\n")
    assert dict(parse_list(text.encode())) == {"a": Digest("sha256", "a" * 64),
                                         "b": Digest("sha256", "b" * 64)}  # fmt: skip


def test_digests_of_git(tmp_path):
    (tmp_path / "file").write_bytes(b"some content\n")
    done = subprocess.run(["git", "hash-object", "file"], cwd=tmp_path, capture_output=True)
    hasher = Digest("git", "").hasher(13)
    hasher.update(b"some content\n")
    assert hasher.hexdigest() == done.stdout.decode().strip()
