"""What does the page say, in Chinese and in English?

A `Wording` remembers which component says what, so that a switch of the language is one update.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Key = str
WORDS: dict[Key, tuple[str, str]] = {
    "model": ("模型", "Model"),
    "chat": ("对话", "Chat"),
    "compare": ("对比", "Compare"),
    "extraction": ("信息抽取", "Extraction"),
    "runs": ("运行报告", "Runs"),
    # parameters
    "parameters": ("参数", "Parameters"),
    "decoding": ("解码方式", "Decoding"),
    "greedy": ("贪心", "Greedy"),
    "sampling": ("采样", "Sampling"),
    "beam": ("束搜索", "Beam search"),
    "beam_sampling": ("束采样", "Beam sampling"),
    "temperature": ("温度", "Temperature"),
    "temperature_info": ("越高越随机", "Higher is more random"),
    "top_k": ("Top-k", "Top-k"),
    "top_k_info": ("只从最可能的 k 个词元中采样；0 为不限", "Draw from the k likeliest; 0: all"),
    "top_p": ("Top-p", "Top-p"),
    "top_p_info": ("只从累计概率达到 p 的词元中采样", "Draw from the likeliest that add up to p"),
    "min_p": ("Min-p", "Min-p"),
    "min_p_info": ("相对最可能词元的最低概率", "Least probability, as a share of the likeliest's"),
    "num_beams": ("束数", "Beams"),
    "length_penalty": ("长度惩罚", "Length penalty"),
    "length_penalty_info": ("大于 0 偏好长答案", "Above 0 prefers long answers"),
    "repetition_penalty": ("重复惩罚", "Repetition penalty"),
    "presence_penalty": ("出现惩罚", "Presence penalty"),
    "frequency_penalty": ("频率惩罚", "Frequency penalty"),
    "penalties": ("惩罚项", "Penalties"),
    "max_new_tokens": ("最多生成词元数", "Max new tokens"),
    "seed": ("随机种子", "Seed"),
    "seed_info": ("相同的种子给出相同的答案", "The same seed gives the same answer"),
    "system": ("系统提示", "System text"),
    "system_hint": ("例如：你是一位严谨的助手。", "For example: You are a careful assistant."),
    "show_beams": ("显示所有束", "Show all beams"),
    # chat
    "hello": ("在下面输入问题，答案会逐字出现。",
              "Type a question below; the answer appears as it is made."),
    "hello_compare": ("答案会出现在这里。", "The answer appears here."),
    "copy": ("复制", "Copy"),
    "edit": ("编辑后重新提问", "Edit and ask again"),
    "question": ("问题", "Question"),
    "question_hint": (
        "输入问题，回车发送，Shift+回车换行",
        "Type a question; Enter sends it, Shift+Enter begins a new line",
    ),
    "send": ("发送", "Send"),
    "stop": ("停止", "Stop"),
    "retry": ("重试", "Retry"),
    "undo": ("撤回", "Undo"),
    "clear": ("清空", "Clear"),
    "save": ("保存", "Save"),
    "open": ("打开", "Open"),
    "replay": ("重放", "Replay"),
    # status lines
    "waiting": ("等待模型……", "Waiting for the model ..."),
    "answering": ("正在回答", "Answering"),
    "finished": ("已完成", "Finished"),
    "length": ("已达长度上限", "Cut at the length limit"),
    "stopped": ("已停止", "Stopped"),
    "tokens": ("词元", "tokens"),
    "seconds": ("秒", "s"),
    "forgotten": ("轮较早的对话已超出上下文", "earlier turns no longer fit into the context"),
    "opened": ("已打开，共 {} 轮", "Opened, {} turns"),
    "replayed": ("重放完毕：{} / {} 个答案与保存的一致", "Replayed: {} of {} answers are as saved"),
    "ask_first": ("先输入一个问题", "Type a question first"),
    "nothing_yet": ("还没有对话", "There is no conversation yet"),
    "beam_heading": (
        "束（深色的文字已确定，浅色的仍可能改变）",
        "Beams (dark text is certain, light text may still change)",
    ),
    # compare
    "left": ("模型 A", "Model A"),
    "right": ("模型 B", "Model B"),
    "compare_hint": ("同一个问题同时问两个模型", "One question to both models at the same time"),
    # extraction
    "text": ("文本（每行一篇）", "Texts (one on each line)"),
    "text_hint": ("粘贴要抽取的文本", "Paste the texts to extract from"),
    "schema": ("模式", "Schema"),
    "schema_text": ("模式内容（YAML，可修改）", "The schema (YAML, may be edited)"),
    "text_language": ("文本语言", "Language of the texts"),
    "constrain": ("约束解码", "Hold the answer to"),
    "constrain_off": ("不约束", "nothing"),
    "constrain_schema": ("只用模式中的类型", "the types of the schema"),
    "constrain_text": ("类型与原文片段", "the types, and parts of the text"),
    "extract": ("抽取", "Extract"),
    "save_rows": ("保存 JSON", "Save JSON"),
    "nothing_found": ("还没有结果", "Nothing was extracted yet"),
    "found": (
        "{} / {} 篇 · 实体 {} · 关系 {} · 事件 {} · 文中未找到 {} · 无法读取 {}",
        "{} of {} texts · {} entities · {} relations · {} events · {} not in the text · "
        "{} unreadable",
    ),
    "missing": ("文中未找到", "not in the text"),
    "no_text": ("先粘贴文本", "Paste a text first"),
    # runs
    "run": ("运行", "Run"),
    "refresh": ("刷新", "Refresh"),
    "no_runs": ("这个文件夹里还没有带报告的运行。", "No run with a report in this folder yet."),
    # errors
    "error": ("出错", "Error"),
}  # fmt: skip
LANGUAGES = {"zh": "中文", "en": "English"}


def word(key: Key, language: str) -> str:
    """Return what the page says in a language."""
    chinese, english = WORDS[key]
    return chinese if language == "zh" else english


class Wording:
    """What each component says.

    Args:
        language: what the page says at first.

    Attributes:
        components: those that say something, in the order in which they were made.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.components: list[Any] = []
        self._said: list[Mapping[str, Key | list[Key]]] = []

    def add(self, make: Any, *, says: Mapping[str, Key | list[Key]], **settings: Any) -> Any:  # noqa: ANN401 - gradio's own
        """Make a component.

        Args:
            make: the component's class.
            says: property -> key of WORDS; a list of keys makes choices of them.
            settings: all other properties.
        """
        component = make(**_words(says, self.language), **settings)
        self.components.append(component)
        self._said.append(says)
        return component

    def updates(self, language: str) -> list[dict[str, Any]]:
        """Return the properties of each component in another language."""
        return [_words(says, language) for says in self._said]


def _words(says: Mapping[str, Key | list[Key]], language: str) -> dict[str, Any]:
    return {
        name: word(keys, language)
        if isinstance(keys, str)
        else [(word(key, language), key) for key in keys]
        for name, keys in says.items()
    }
