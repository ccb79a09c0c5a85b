"""Strict configs: every complaint names the file, the line, the key and the mend."""

from pathlib import Path

import pytest

from hanlin.core.config import (
    ConfigSource,
    InputPath,
    ModelPath,
    StrictModel,
    input_paths,
    load_yaml,
    looks_like_hub_id,
    parse_value,
    set_value,
    validate,
    with_paths,
)
from hanlin.core.errors import ConfigError, InputError


class Inner(StrictModel):
    rank: int = 8


class Outer(StrictModel):
    rate: float = 1e-3
    inner: Inner = Inner()
    items: list[Inner] = []
    corpus: list[InputPath] = []
    model: ModelPath | None = None


def read(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    values, source = load_yaml(path)
    return validate(Outer, values, source=source)


def test_exponents_without_a_dot_are_numbers(tmp_path):
    assert read(tmp_path, "rate: 1e-4").rate == 1e-4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate: 1\nraet: 2", "c.yaml:2: raet: unknown key (did you mean 'rate'?)"),
        ("inner:\n  rnk: 2", "c.yaml:2: inner.rnk: unknown key (did you mean 'rank'?)"),
        ("items:\n  - rank: 1\n  - rank: x", "c.yaml:3: items.1.rank: Input should be a valid int"),
        ("rate: 1\nrate: 2", "c.yaml:2: key 'rate' appears twice"),
        ("inner:\n  rank: 1\n  rank: 2", "c.yaml:3: key 'inner.rank' appears twice"),
        ("rate: [", "this is not valid YAML"),
        ("- 1", "expected keys and values, got list"),
        ("", "expected keys and values, got NoneType"),
    ],
)
def test_wrong_files_are_refused_with_the_line(tmp_path, text, expected):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert expected in str(caught.value)


def test_a_missing_or_binary_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        load_yaml(tmp_path / "b.yaml")


def test_paths_are_found_and_changed_wherever_they_are(tmp_path):
    config = read(tmp_path, "corpus: ['@world/corpus/en.jsonl', 文.txt]\nmodel: owner/name")
    assert input_paths(config) == ["@world/corpus/en.jsonl", "文.txt", "owner/name"]
    assert [path.is_reference for path in config.corpus] == [True, False]
    changed = with_paths(config, lambda path: f"/x/{path}")
    assert changed.corpus[1] == "/x/文.txt" and isinstance(changed.corpus[1], InputPath)
    assert changed.rate == config.rate


def test_hub_ids_are_told_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/base").mkdir(parents=True)
    assert looks_like_hub_id("owner/name")
    for path in ("runs/base", "./a/b", "/a", "~/a", "@base/model", "name", "a/b/c"):
        assert not looks_like_hub_id(path)


def test_values_of_the_command_line_win_and_are_named():
    source = ConfigSource("f.yaml", Path(), {("rate",): 1})
    values = {"rate": 1}
    set_value(values, "inner.rank", parse_value("many"), source)
    with pytest.raises(ConfigError) as caught:
        validate(Outer, values, source=source)
    assert "--set inner.rank: inner.rank: Input should be a valid integer" in str(caught.value)
    with pytest.raises(ConfigError, match="'rate' is a value"):
        set_value(values, "rate.x", 1)
    with pytest.raises(ConfigError, match="empty key"):
        set_value(values, "rate..x", 1)
    assert parse_value("[1, a]") == [1, "a"] and parse_value("true") is True
    with pytest.raises(ConfigError, match="cannot read the value"):
        parse_value("[1")
