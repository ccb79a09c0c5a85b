"""Half of a character and endless nesting, as scraped JSON has them, are answered by name."""

import json

import pytest

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows, read_conversations, read_documents


@pytest.mark.parametrize("as_list", [False, True])
def test_a_lone_surrogate_is_a_bad_row(tmp_path, as_list):
    rows = [{"text": f"第{i}行 😀"} for i in range(3)] + [{"text": "cut \ud83d emoji"}]
    path = tmp_path / "rows.json"
    lines = [json.dumps(row) for row in rows]
    path.write_text("[" + ",\n".join(lines) + "]" if as_list else "\n".join(lines))
    bad = BadRows(0.5)
    assert [document.text for document in read_documents(path, bad=bad)] == [
        row["text"] for row in rows[:3]
    ]
    assert bad.bad == 1 and "lone surrogate" in bad.as_records()[0]["reason"]


def test_in_a_conversation_too(tmp_path):
    good = {"messages": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]}
    cut = {"messages": [{"role": "user", "content": "\ud800"}, *good["messages"][1:]]}
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, (good, cut))))
    bad = BadRows(0.5)
    assert len(list(read_conversations(path, bad=bad))) == 1 and bad.bad == 1


def test_a_list_that_is_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="not valid JSON"):
        list(read_documents(path))
