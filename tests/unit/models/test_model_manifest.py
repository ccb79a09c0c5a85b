import json

import pytest

from hanlin.core.errors import InputError
from hanlin.models.manifest import read_manifest, write_manifest


def test_fields_are_kept_replaced_and_removed(tmp_path):
    assert read_manifest(tmp_path) == {}
    write_manifest(tmp_path, tokenizer_sha256="abc", prompt={"format": "plain"})
    write_manifest(tmp_path, tokenizer_sha256="def")
    assert read_manifest(tmp_path) == {
        "version": 1, "tokenizer_sha256": "def", "prompt": {"format": "plain"},
    }  # fmt: skip
    write_manifest(tmp_path, prompt=None)
    assert "prompt" not in json.loads((tmp_path / "hanlin.json").read_text())


@pytest.mark.parametrize("content", ['{"version": 2}', "{}", "[]", '{"version": "1"}'])
def test_a_manifest_of_another_version(tmp_path, content):
    (tmp_path / "hanlin.json").write_text(content)
    with pytest.raises(InputError, match=r"hanlin\.json has version .*, this Hanlin reads up to 1"):
        read_manifest(tmp_path)
