"""Prompt formats give exactly the texts that their originals document."""

import re

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Message, ToolCall
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.formats import ALPACA, CHINESE_VICUNA_CHAT, FORMATS, PLAIN, get_format
from hanlin.prompts.render import render

TURNS = [
    Message("user", "你好"),
    Message("assistant", "你好！"),
    Message("user", "{content} of {a dict}"),
    Message("assistant", "ok"),
]
WITH_INPUT = [Message("user", "译成英文\n河流", input_at=5), Message("assistant", "river")]
ALPACA_START = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
)
ALPACA_INPUT_START = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
)
CUTEGPT_START = (
    "你是复旦大学知识工场实验室训练出来的语言模型CuteGPT。给定任务描述，请给出对应请求的回答。\n"
)


def text_of(messages, format, *, opens_answer=False, tools=()):
    segments = render(messages, format=format, opens_answer=opens_answer, tools=tools)
    return "".join({"{bos}": "<s>", "{eos}": "</s>"}.get(s.special, s.text) for s in segments)


# What the originals make of a question, an answer and a second question, with the begin and end
# tokens that they add themselves written as <s> and </s>; sources in `prompts/formats.py`.
GOLDEN = {
    "plain": "User: 你好\nAssistant: 你好！</s>User: {content} of {a dict}\nAssistant:",
    "alpaca": ALPACA_START + "### Instruction:\n你好\n\n### Response:\n你好！</s>\n\n"
    "### Instruction:\n{content} of {a dict}\n\n### Response:\n",
    "alpaca-knowlm-qlora": ALPACA_START + "### Instruction:\n你好\n\n### Response: 你好！</s>\n\n"
    "### Instruction:\n{content} of {a dict}\n\n### Response:",
    "chinese-vicuna-instruct": ALPACA_START
    + "### Instruction:\n你好\n\n### Response:你好！</s>\n\n"
    "### Instruction:\n{content} of {a dict}\n\n### Response:",
    "chinese-vicuna-chat": "The following is a conversation between an AI assistant called "
    "Assistant and a human user called User. The assistant is intelligent, knowledgeable and "
    "polite to answer questions of user.\n\nUser:你好\n\nAssistant:你好！\n\n"
    "User:{content} of {a dict}\n\nAssistant:",
    "cutegpt": CUTEGPT_START + "问：你好\n答：\n你好！\n问：{content} of {a dict}\n答：\n",
    "cutegpt-train": CUTEGPT_START + "问：你好\n答：\n你好！<end>问：{content} of {a dict}\n答：\n",
    "cutegpt-en": CUTEGPT_START
    + "Instruction:你好\nResponse:\n你好！\nInstruction:{content} of {a dict}\nResponse:\n",
    "belle": "Human: \n你好\n\nAssistant: \n你好！</s>"
    "Human: \n{content} of {a dict}\n\nAssistant: \n",
    "oneke": "<s>[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。"
    "\n<</SYS>>\n\n你好 [/INST] 你好！ </s><s>[INST] {content} of {a dict} [/INST]",
    "vicuna": "A chat between a curious user and an artificial intelligence assistant. The "
    "assistant gives helpful, detailed, and polite answers to the user's questions. "
    "USER: 你好 ASSISTANT: 你好！</s>USER: {content} of {a dict} ASSISTANT:",
    "llama2": "<s>[INST] 你好 [/INST] 你好！ </s><s>[INST] {content} of {a dict} [/INST]",
    "llama3": "<|start_header_id|>user<|end_header_id|>\n\n你好<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n你好！<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{content} of {a dict}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "chatml": "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n你好！<|im_end|>\n"
    "<|im_start|>user\n{content} of {a dict}<|im_end|>\n<|im_start|>assistant\n",
}
GOLDEN["alpaca-knowlm"] = GOLDEN["alpaca"]
WITH_BOS = {"belle": False, "cutegpt": False, "cutegpt-train": False, "cutegpt-en": False}


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_prompt_is_the_original_one(name):
    format = get_format(name)
    assert text_of(TURNS[:3], format, opens_answer=True) == GOLDEN[name]
    has_bos = format.is_bos_first or GOLDEN[name].startswith("<s>")
    assert has_bos == WITH_BOS.get(name, True)


@pytest.mark.parametrize(
    ("name", "end"),
    [("alpaca", "ok</s>"), ("chinese-vicuna-chat", "ok</s>"), ("cutegpt", "ok<end>"),
     ("cutegpt-train", "ok<end></s>"), ("oneke", " ok </s>"), ("llama3", "ok<|eot_id|>"),
     ("chatml", "ok<|im_end|>")],
)  # fmt: skip
def test_the_end_of_a_conversation(name, end):
    text = text_of(TURNS, get_format(name))
    assert text == GOLDEN[name] + end


def test_an_input_that_is_kept_apart_has_its_own_place():
    assert text_of(WITH_INPUT, ALPACA) == (
        ALPACA_INPUT_START
        + "### Instruction:\n译成英文\n\n### Input:\n河流\n\n### Response:\nriver</s>"
    )
    assert text_of(WITH_INPUT, get_format("chinese-vicuna-instruct")) == (
        ALPACA_INPUT_START + "### Instruction:译成英文\n\n### Input:河流\n\n### Response:river</s>"
    )
    joined = [Message("user", "译成英文\n河流"), WITH_INPUT[1]]
    for name in set(FORMATS) - {n for n in FORMATS if get_format(n).input_user}:
        assert text_of(WITH_INPUT, get_format(name)) == text_of(joined, get_format(name))


def test_a_system_text():
    messages = [Message("system", "Be kind."), *TURNS[:1]]
    wanted = {
        "plain": "Be kind.\nUser: 你好\nAssistant:",
        "alpaca": "Be kind.\n\n### Instruction:\n你好\n\n### Response:\n",
        "vicuna": "Be kind. USER: 你好 ASSISTANT:",
        "llama2": "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n你好 [/INST]",
        "llama3": "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
        + GOLDEN["llama3"].partition("你好")[0]
        + "你好<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n"
        "<|im_start|>assistant\n",
    }
    for name, text in wanted.items():
        assert text_of(messages, get_format(name), opens_answer=True) == text
    assert text_of([Message("system", ""), *TURNS[:1]], ALPACA).startswith("### Instruction:")


def test_a_system_text_is_not_lost_where_no_question_comes_first():
    messages = [Message("system", "Be kind."), Message("assistant", "Hi")]
    text = text_of(messages, get_format("llama2"))
    assert text == "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n [/INST] Hi </s>"


WEATHER = '{"name": "weather", "parameters": {"city": {"type": "string"}}}'
CALLS = (ToolCall("weather", '{"city":"北京"}'), ToolCall("weather", '{"city": "上海"}'))
WITH_TOOLS = [
    Message("system", "Be kind."),
    Message("user", "天气？"),
    Message("assistant", "I look.", tool_calls=CALLS),
    Message("tool", "晴"),
    Message("tool", "雨"),
    Message("assistant", "晴，雨"),
]


def test_tools_in_chatml_are_those_of_qwen():
    assert text_of(WITH_TOOLS, get_format("chatml"), tools=[WEATHER]) == (
        "<|im_start|>system\nBe kind.\n\n# Tools\n\nYou may call one or more functions to assist "
        "with the user query.\n\nYou are provided with function signatures within <tools></tools> "
        f"XML tags:\n<tools>\n{WEATHER}\n</tools>\n\nFor each function call, return a json object "
        "with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n天气？<|im_end|>\n<|im_start|>assistant\nI look.\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "北京"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "weather", "arguments": {"city": "上海"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n晴\n</tool_response>\n"
        "<tool_response>\n雨\n</tool_response><|im_end|>\n<|im_start|>assistant\n晴，雨<|im_end|>"
    )


def test_tools_in_llama3_are_those_of_llama_3_1():
    text = text_of(WITH_TOOLS[:2] + WITH_TOOLS[3:4], get_format("llama3"), tools=[WEATHER])
    assert text == (
        "<|start_header_id|>system<|end_header_id|>\n\nYou have access to the following functions. "
        "To call a function, please respond with JSON for a function call. Respond in the format "
        '{"name": function name, "parameters": dictionary of argument name and its value}. Do not '
        f"use variables.\n\n{WEATHER}\n\nBe kind.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n天气？<|eot_id|>"
        "<|start_header_id|>ipython<|end_header_id|>\n\n晴<|eot_id|>"
    )
    call = text_of([Message("assistant", "", tool_calls=CALLS[:1])], get_format("llama3"))
    assert '\n\n{"name": "weather", "parameters": {"city": "北京"}}<|eot_id|>' in call


def test_a_format_without_a_place_for_tools_refuses_them_by_name():
    with pytest.raises(InputError) as caught:
        text_of(WITH_TOOLS, ALPACA, tools=[WEATHER])
    assert caught.value.what == (
        "prompt format 'alpaca' has no place for tools and tool calls and tool results"
    )
    assert "chatml or llama3" in caught.value.fix


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_entry_carries_its_own_name_and_stops_before_the_next_turn(name):
    format = get_format(name)
    assert format.name == name
    next_turn = format.separator + format.user
    assert format.markers or any(text.strip() in next_turn for text in format.stop_strings)
    assert set(format.markers) <= set(re.findall(r"<[^<>\n]+>", str(format)))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        get_format("alpca")
    assert str(caught.value) == (
        "unknown prompt format 'alpca'\n"
        f"  why: known prompt formats: {', '.join(FORMATS)}\n"
        "  fix: did you mean 'alpaca'?"
    )


def test_exact_borders():
    assert PLAIN.has_exact_borders
    assert ALPACA.has_exact_borders
    assert not CHINESE_VICUNA_CHAT.has_exact_borders


def test_answer_text_takes_the_template_away_once():
    assert PLAIN.answer_text("  two spaces ") == " two spaces "
    assert PLAIN.answer_text("你好") == "你好"
    assert ALPACA.answer_text(" kept") == " kept"


def test_a_format_without_content_is_refused():
    with pytest.raises(ValueError, match=r"user has 0 times \{content\}"):
        PromptFormat(name="x", summary="", user="User:", assistant="A:")
    with pytest.raises(ValueError, match="assistant is empty"):
        PromptFormat(name="x", summary="", user="{content}", assistant="")
    with pytest.raises(ValueError, match="end is not made of special tokens"):
        PromptFormat(name="x", summary="", user="{content}", assistant="A", end="<end>")
    with pytest.raises(ValueError, match="a special token inside answer"):
        PromptFormat(name="x", summary="", user="{content}", assistant="A", answer="{content}{eos}")
