"""Every shape of instruction and chat file becomes the same conversations."""

import json

import pytest

from hanlin.core.errors import InputError
from hanlin.core.records import Message, ToolCall
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
        ({"prompt": "你好", "completion": "Hi 🙂"}, TWO[:2]),
        ({"prompt": "你好", "response": " Hi 🙂"}, TWO[:2]),
        ({"instruction": "Human: 你好\nAssistant: Hi 🙂\nHuman:再见\nAssistant:\n", "input": "",
          "output": "Bye"}, TWO),
        ({"instruction": "Human: 你", "output": "Hi"},
         [("user", "Human: 你"), ("assistant", "Hi")]),
        ({"task": "NER", "source": "NER", "instruction": '{"schema": ["人物"]}', "output": "{}"},
         [("user", '{"schema": ["人物"]}'), ("assistant", "{}")]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "你"},
                                                    {"type": "text", "text": "好"}]},
                       {"role": "assistant", "content": "Hi 🙂"}]}, TWO[:2]),
    ],
)  # fmt: skip
def test_shapes(write, row, expected):
    assert turns(write("a.jsonl", [row])) == [expected]
    assert turns(write("a.json", json.dumps([row], ensure_ascii=False, indent=1))) == [expected]


CALL = {"name": "add", "arguments": {"a": 1, "b": "二"}}
TOOL = {"name": "add", "description": "加", "parameters": {"type": "object"}}


def test_tools_are_the_same_in_both_formats(write):
    openai = {
        "tools": [{"type": "function", "function": TOOL}],
        "messages": [
            {"role": "user", "content": "1+2?"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {
                    "name": "add", "arguments": '{"a": 1, "b": "二"}'}}]},
            {"role": "tool", "tool_call_id": "c", "content": "3"},
            {"role": "assistant", "content": "3"},
        ],
    }  # fmt: skip
    sharegpt = {
        "tools": json.dumps([TOOL]),
        "conversations": [
            {"from": "human", "value": "1+2?"},
            {"from": "function_call", "value": json.dumps(CALL)},
            {"from": "observation", "value": "3"},
            {"from": "gpt", "value": "3"},
        ],
    }
    first, second = read_conversations(write("a.jsonl", [openai, sharegpt]))
    assert first.messages == second.messages
    assert first.tools == second.tools == (json.dumps(TOOL, ensure_ascii=False),)
    call = ToolCall("add", '{"a": 1, "b": "二"}')
    assert first.messages[1] == Message("assistant", "", tool_calls=(call,))
    assert first.messages[2] == Message("tool", "3")


def test_weights_say_which_answers_are_trained(write):
    turns = [("user", "a", {}), ("assistant", "b", {"weight": 0}), ("user", "c", {"weight": 0}),
             ("assistant", "d", {"weight": 1}), ("assistant", "e", {"train": False})]  # fmt: skip
    rows = [{"messages": [{"role": r, "content": t, **w} for r, t, w in turns]},
            {"conversations": [{"from": r, "value": t, **w} for r, t, w in turns]}]  # fmt: skip
    for conversation in read_conversations(write("a.jsonl", rows)):
        assert [m.is_trained for m in conversation.messages] == [True, False, True, True, False]


def test_messages_keep_every_character_and_others_lose_outer_white_space(write):
    row = {
        "messages": [{"role": "user", "content": " a\n"}, {"role": "assistant", "content": "\tb "}]
    }
    assert turns(write("a.jsonl", [row])) == [[("user", " a\n"), ("assistant", "\tb ")]]
    row = {"conversations": [{"from": "human", "value": " a\n"}, {"from": "gpt", "value": "\tb "}]}
    assert turns(write("b.jsonl", [row])) == [[("user", "a"), ("assistant", "b")]]


def test_where_an_input_begins_is_known(write):
    rows = [{"instruction": " Translate: ", "input": "你好", "output": "Hi"},
            {"instruction": "", "input": "你好", "output": "Hi"},
            {"instruction": "Translate:", "input": " ", "output": "Hi"}]  # fmt: skip
    asked = [c.messages[0] for c in read_conversations(write("a.jsonl", rows))]
    assert [(m.content, m.input_at) for m in asked] == [
        ("Translate:\n你好", 11), ("你好", 0), ("Translate:", None)
    ]  # fmt: skip


def test_dialogues_are_lists_of_turns(write):
    dialogue = [{"instruction": "你好", "input": "", "output": "Hi 🙂"},
                {"instruction": "再见", "input": "", "output": "Bye"}]  # fmt: skip
    path = write("a.json", json.dumps([dialogue, dialogue[:1]], ensure_ascii=False))
    assert turns(path) == [TWO, TWO[:2]]
    assert turns(write("b.jsonl", [dialogue, dialogue[:1]])) == [TWO, TWO[:2]]


def test_schemas_may_be_mixed_and_unread_fields_are_counted(write):
    rows = [{"instruction": "a", "output": "b", "id": 1, "extra": None},
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            {"input": ["a"], "output": ["b"], "id": 3}]  # fmt: skip
    bad = BadRows()
    assert turns(write("a.jsonl", rows), bad=bad) == [[("user", "a"), ("assistant", "b")]] * 3
    assert bad.notes == {"field id": 2}


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
        ({"messages": [{"role": "judge", "content": "a"}]}, "unknown speaker 'judge'; known: syst"),
        ({"messages": [{"role": "assistant", "content": "a", "weight": 0.5}]}, "weight 0.5; kn"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
         "a message holds a part that is no text"),
        ({"messages": [{"role": "user", "content": "a\nb", "input_at": 1}]},
         "input_at 1 is no place behind a line break"),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "tool_calls is not a list"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]}, "a tool call without "),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "[]"}]}]},
         "the arguments of a tool call are no JSON object"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "s"},
                       {"role": "assistant", "content": "b"}]}, "a system message that is not the"),
        ({"conversations": [], "tools": "[...]"}, "tools or arguments that are not JSON"),
        ({"conversations": [], "tools": "3"}, "tools are no list of objects"),
        ({"conversations": [{"from": "function_call", "value": "f()"}]}, "a function call that "),
        ({"conversations": [{"from": "function_call", "value": "[]"}]}, "a function call that"),
        ([{"instruction": "a"}], "a turn of a dialogue without instruction and output"),
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
