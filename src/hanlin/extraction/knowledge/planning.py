"""What is a model asked that plans look-ups, what does it answer, and which rows teach it to?"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hanlin.core.stage import derive_seed
from hanlin.extraction.knowledge.compose import is_kept_for_test
from hanlin.extraction.knowledge.index import GraphIndex
from hanlin.extraction.knowledge.lookups import LookUps
from hanlin.extraction.knowledge.plan_run import Outcome, run_plan
from hanlin.extraction.knowledge.slots import hide
from hanlin.extraction.knowledge.wording import Wording

Form = Literal["code", "cutegpt", "slots"]
REQUESTS = {"zh": "写出查询计划。\n{question}", "en": "Plan the look-ups.\n{question}"}
# CuteGPT's zero-shot instruction for planning, as its README has it.
CUTEGPT = """\
你是一个知识图谱访问代理，你的任务是编写Python代码，使用内置的Python函数和下面给出的函数来获取用户查询相关的信息：
1. get_entity_info(entity_aliases)：获取一个实体的百科信息。返回'result'（实体信息或None）和'message'（描述函数调用和结果）。
2. find_entity_or_value(entity_aliases, relation_aliases)：找到实体或值以回答事实查询。返回'result'（实体名列表或属性值或None）和'message'（描述函数调用和结果）。
3. find_relationship(entity1_aliases, entity2_aliases)：预测两个实体之间的关系。返回'result'（关系或None）和'message'（描述函数调用和结果）。
===
请遵循以下规则：
1. 你的工作是获取相关知识，而不是直接回答查询。
2. 只使用内置的Python函数和提供的函数。
3. 在调用函数时，对实体和关系的别名进行释义和列举候选，按别名频率排序。
4. 在使用find_entity_or_value时，使用清晰的关系。对于模糊或广泛的关系查询，使用get_entity_info。
5. 通过富有逻辑的代码处理多步或嵌套的查询。
6. 以JSON格式响应。
7. 你需要一步一步思考并给出三个部分的结果：need_knowledge, thought, code。首先，你需要判断该问题是否需要知识。若是，你需要先给出一个想法，规划如何完成该查询。然后，你需要将想法转化为可执行的代码。
8. 所有函数调用的'messages'都记录在名为'messages'的字符串中，这是search()的返回值。
9. 在'messages'字符串中添加必要的解释。
输出格式：
{
"need_knowledge": "<是或否>",
"thought": "<你的思考过程>",
"code": "def search():\\n\\tmessages = ''\\n\\t<你的代码>\\n\\treturn messages\\n",
}
===
输入："{question}"
"""  # noqa: E501 - the lines are published so
ONE_HOP = {
    "zh": (
        "{head}的{first}是什么？", "请问{head}的{first}是谁或是什么？", "告诉我{head}的{first}。",
    ),
    "en": (
        "What is the {first} of {head}?", "Tell me the {first} of {head}.",
        "Who or what is {head}'s {first}?",
    ),
}  # fmt: skip
TWO_HOPS = {
    "zh": (
        "{head}的{first}的{second}是什么？", "请问{head}的{first}的{second}是谁或是什么？",
        "告诉我{head}的{first}的{second}。",
    ),
    "en": (
        "What is the {second} of the {first} of {head}?",
        "Tell me the {second} of the {first} of {head}.",
        "Who or what is the {second} of {head}'s {first}?",
    ),
}  # fmt: skip
_CODE = re.compile(r"""["']code["']\s*:\s*(["'])(?P<code>.*)\1\s*,?\s*\}?\s*$""", re.DOTALL)
_NOT_NEEDED = re.compile(r"""["']need_knowledge["']\s*:\s*["'](?:否|no\b)""", re.IGNORECASE)
_ESCAPE = re.compile(r"\\([ntr\"'\\])")
_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)


@dataclass(frozen=True)
class Planned:
    """A question with its plan.

    Attributes:
        question: in words.
        language: of them.
        hops: look-ups that the plan makes, one after the other.
        plan: in the little language.
        answer: names of what it leads to.
        is_test: whether it begins at an entity of the test.
        names: entities that the question names.
    """

    question: str
    language: str
    hops: int
    plan: str
    answer: tuple[str, ...]
    is_test: bool
    names: tuple[str, ...]

    def row(self, form: Form = "code") -> dict[str, Any]:
        """Return the conversation that teaches it."""
        question, plan = self.question, self._json() if form == "cutegpt" else self.plan
        if form == "slots":
            question, names = hide(question, self.names)
            for number, name in enumerate(names, 1):
                plan = plan.replace(repr(name), f"'#{number}'")
        return {
            "messages": [
                {"role": "user", "content": request(question, self.language, form)},
                {"role": "assistant", "content": plan},
            ]
        }

    def _json(self) -> str:
        body = "\n\t".join(self.plan.replace("return ", "messages = msg\nreturn ").split("\n"))
        code = f"def search():\n\tmessages = ''\n\t{body}\n"
        thought = f"{self.hops}: {self.question}"
        value = {"need_knowledge": "是", "thought": thought, "code": code}
        return json.dumps(value, ensure_ascii=False)


def request(question: str, language: str, form: Form = "code") -> str:
    """Return what a model is asked; `cutegpt` is the instruction of that model."""
    template = CUTEGPT if form == "cutegpt" else REQUESTS.get(language, REQUESTS["en"])
    return template.replace("{question}", question)


def code_of(answer: str) -> str:
    """Return the plan in a model's answer: JSON with "code", broken JSON as well, or the plan.

    An answer that says that no knowledge is needed gives an empty plan.
    """
    answer = answer.strip()
    fenced = _FENCE.match(answer)
    answer = fenced[1] if fenced else answer
    if _NOT_NEEDED.search(answer):
        return ""
    try:
        value = json.loads(answer)
        return str(value["code"]) if isinstance(value, dict) else answer
    except (ValueError, KeyError, RecursionError):
        pass
    match = _CODE.search(answer)
    if not match:
        return answer
    letters = {"n": "\n", "t": "\t", "r": "\r"}
    return _ESCAPE.sub(lambda m: letters.get(m[1], m[1]), match["code"])


def follow(answer: str, graph: LookUps, *, names: Sequence[str] = ()) -> Outcome:
    """Run the plan in a model's answer; `names` as in `run_plan`.

    Raises:
        PlanRefusedError: it holds something that is not allowed.
    """
    return run_plan(code_of(answer), graph, names=names)


def write_plan(head: str, relations: Sequence[str]) -> str:
    """Return the plan that follows relations from an entity."""
    lines, source = [], repr([head])
    for name, relation in zip(("first", "second", "third"), relations, strict=False):
        lines.append(f"{name}, msg = find_entity_or_value({source}, {[relation]!r})")
        source = name
    return "\n".join([*lines, f"return {source}"])


def plan_rows(
    index: GraphIndex, wording: Wording, *, test_share: float, seed: int
) -> Iterator[Planned]:
    """Yield the questions of one and of two hops that a graph can answer, one wording for each.

    A question belongs to the test where it begins at an entity of the test; hubs (see `compose`)
    never do.
    """
    language = wording.language
    for head in range(len(index.ids)):
        name = _name(index, head, language)
        if index.is_value[head] or not name:
            continue
        is_test = is_kept_for_test(index, head, share=test_share, seed=seed)
        for first, middle in index.told_of(head):
            labels = (wording.relation(first),)
            yield _planned(index, language, (head, middle), labels, is_test=is_test, seed=seed)
            if index.is_value[middle] or not _name(index, middle, language):
                continue
            for second, tail in index.told_of(middle):
                if tail != head:
                    pair = (*labels, wording.relation(second))
                    yield _planned(index, language, (head, tail), pair, is_test=is_test, seed=seed)


def _planned(
    index: GraphIndex, language: str, ends: tuple[int, int], relations: tuple[str, ...], *,
    is_test: bool, seed: int,
) -> Planned:  # fmt: skip
    head = _name(index, ends[0], language)
    templates = (ONE_HOP if len(relations) == 1 else TWO_HOPS).get(language, ONE_HOP["en"])
    rng = random.Random(derive_seed(seed, f"{language}/{head}/{relations}"))  # noqa: S311
    second = relations[-1]
    question = rng.choice(templates).format(head=head, first=relations[0], second=second)
    answer = _name(index, ends[1], language) or index.ids[ends[1]]
    plan = write_plan(head, relations)
    return Planned(question, language, len(relations), plan, (answer,), is_test, (head,))


def _name(index: GraphIndex, node: int, language: str) -> str:
    return next((text for text, own in index.names[node] if own in ("", language)), "")
