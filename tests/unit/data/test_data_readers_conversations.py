"""Every shape of instruction and chat file becomes the same conversations."""

import json

import pytest

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows, read_conversations


def turns(path, **options):
    return [
        [(message.role, message.content) for message in conversation.messages]
        for conversation in read_conversations(path, **options)
    ]


TWO = [("user", "你好"), ("assistant", "Hi 🙂"), ("user", "再见"), ("assistant", "Bye")]
SYSTEM = [("system", "Be kind.")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [{"role": role, "content": text} for role, text in SYSTEM + TWO]},
         SYSTEM + TWO),
        ({"conversations": [
            {"from": "human", "value": "你好"}, {"from": "gpt", "value": " Hi 🙂\n"},
            {"from": "human", "value": "再见"}, {"from": "gpt", "value": "Bye"}], "tools": ""},
         TWO),
        ({"system": "Be kind.", "conversations": [
            {"from": "user", "value": "你好"}, {"from": "assistant", "value": "Hi 🙂"}]},
         SYSTEM + TWO[:2]),
        ({"instruction": "你好", "input": "", "output": "Hi 🙂"}, TWO[:2]),
        ({"instruction": "Translate:", "input": "你好", "output": "Hi", "id": 3},
         [("user", "Translate:\n你好"), ("assistant", "Hi")]),
        ({"instruction": "再见", "input": None, "output": "Bye", "system": "Be kind.",
          "history": [["你好", "Hi 🙂"]]}, SYSTEM + TWO),
        ({"input": ["你好", "再见"], "output": ["Hi 🙂", "Bye"]}, TWO),
        ({"instruction": "52/4=", "output": 13}, [("user", "52/4="), ("assistant", "13")]),
    ],
)  # fmt: skip
def test_shapes(write, row, expected):
    assert turns(write("a.jsonl", [row])) == [expected]
    assert turns(write("a.json", json.dumps([row], ensure_ascii=False, indent=1))) == [expected]


def test_seed_tasks_give_one_conversation_for_each_instance(write):
    row = {"instruction": "Antonym", "instances": [
        {"input": "hot", "output": "cold"}, {"input": "", "output": "none"}]}  # fmt: skip
    path = write("seeds.json", [row])
    assert turns(path) == [
        [("user", "Antonym\nhot"), ("assistant", "cold")],
        [("user", "Antonym"), ("assistant", "none")],
    ]
    assert [c.line for c in read_conversations(path)] == [1, 1]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "a", "output": "  "}, "an answer is empty"),
        ({"instruction": " ", "output": "b"}, "no question in it"),
        ({"instruction": "a", "output": None}, "expected text, found NoneType"),
        ({"instruction": "a", "output": "b", "history": ["x"]}, "history is not a list of"),
        ({"messages": []}, "no answer in it"),
        ({"messages": ["x"]}, "a turn is not an object"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no answer in it"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "unknown speaker 'tool'; known: system"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "s"},
                       {"role": "assistant", "content": "b"}]}, "a system message that is not the"),
        ({"conversations": [], "tools": "[...]"}, "tool calls are not read"),
        ({"input": ["a", "b"], "output": ["c"]}, "2 inputs but 1 outputs"),
        ({"question": "a", "answer": "b"}, "not a conversation (found answer, question)"),
        (["a", "b"], "not a conversation (found list)"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_say_why(write, row, reason):
    bad = BadRows(max_share=1)
    good = {"instruction": "a", "output": "b"}
    assert len(turns(write("a.jsonl", [good, row, good]), bad=bad)) == 2
    assert [(r.line, r.reason[: len(reason)]) for r in bad.rows] == [(2, reason)]


def test_a_corpus_is_no_conversation(write):
    with pytest.raises(InputError) as caught:
        turns(write("a.jsonl", [{"text": "x"}]))
    assert "1 of 1 rows cannot be used" in str(caught.value)
    assert "expected messages, conversations" in str(caught.value)
    with pytest.raises(InputError, match="text is no conversation format"):
        turns(write("a.txt", "plain text"))


@pytest.mark.real_data
def test_public_instruction_files(real_data):
    folder = real_data / "instructions"
    counts = {}
    for path in sorted(folder.glob("*.json*")):
        if "toolcall" not in path.name:
            bad = BadRows()
            counts[path.name] = (len(turns(path, bad=bad)), bad.bad)
    assert counts["alpaca_zh_0-3252.json"] == (3241, 4)
    assert counts["belle_zh_seed_tasks.json"] == (175, 0)
    assert counts["sharegpt_zh_multi_turn.jsonl"] == (196, 1)
    assert counts["vicuna_zh_multi_turn_sample.jsonl"] == (3, 0)
    assert len(counts) == 12
