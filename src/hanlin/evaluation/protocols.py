"""Which named protocols are there? Their prompts as data; every number is named with its own.

official: the authors' prompt (C-Eval: Huang et al. 2023; CMMLU: Li et al. 2023; MMLU: Hendrycks et
al. 2021; AGIEval: Zhong et al. 2023). lm-eval: lm-evaluation-harness 0.4.13. cutegpt-mrr: options
ranked by text (Xiezhi: Gu et al. 2023; CuteGPT's tables). Our own wording, where no source could be
read: the intro of M3KE, Xiezhi's English one; GAOKAO-Bench is asked in AGIEval's layout.
"""

from __future__ import annotations

from collections.abc import Sequence

from hanlin.core.records import Question
from hanlin.evaluation.benchmark import (
    AveragingName,
    BenchmarkConfig,
    ProtocolName,
    ScorerName,
    Subject,
)
from hanlin.evaluation.layout import LINES, Layout
from hanlin.evaluation.protocol import Protocol
from hanlin.evaluation.subjects import subjects_of

CHINESE = frozenset({"ceval", "cmmlu", "m3ke"})
MRR_OPTIONS = 50

INTROS: dict[str, dict[str, str]] = {
    "official": {
        "ceval": "以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。",
        "cmmlu": "以下是关于{subject}的单项选择题，请直接给出正确答案的选项。",
        "mmlu": "The following are multiple choice questions (with answers) about {subject}.",
        "m3ke": "请选择正确的答案。",
    },
    "lm-eval": {
        "ceval": "以下是中国关于{subject}的单项选择题，请选出其中的正确答案。",
        "cmmlu": "以下是关于{subject}的单项选择题，请直接给出正确答案的选项。",
        "mmlu": "The following are multiple choice questions (with answers) about {subject}.",
    },
}
RANKING_INTROS = {
    "zh": "下面请你作为一个答题者，回答一道选择题。我会在“问题描述”中描述这道问题是什么、"
    "“所有选项”中列出所有可以选择的选项、请你将你认为正确的选项输出在“答案”后面。"
    "请你将你认为正确的选项内容进行输出，不要输出多余的内容。",
    "en": "Please answer a multiple choice question. The question is described in "
    '"question description", all options are listed in "all options"; write the content of the '
    'right option after "answer", and nothing else.',
}
ZH = {"zh": "答案：", "en": "答案："}
EN = {"zh": "Answer:", "en": "Answer:"}
RANKING = Layout(
    space="\n",
    templates={
        "zh": "### 问题描述:\n{question}\n\n### 所有选项:\n{options}\n\n### 答案:",
        "en": "### question description:\n{question}\n\n### all options:\n{options}\n\n### answer:",
    },
    example="Demonstation {number}:\n{block}",  # spelled so by Xiezhi's authors
    asked="Question:\n{block}",
)
AGIEVAL = Layout(
    space="",
    letter="({letter}){option}",
    option_gap=" ",
    templates={
        "zh": "问题：{question} 选项：{options}\n答案：从A到{last}, 我们应选择",
        "en": "Q: {question} Answer Choices: {options}\nA: Among A through {last}, the answer is",
    },
)


def protocol_for(
    config: BenchmarkConfig,
    subject: Subject,
    *,
    default: ProtocolName = "plain",
    scorer: ScorerName = "letter",
    questions: Sequence[Question] = (),
) -> Protocol:
    """Return the protocol that a config names.

    Args:
        config: protocol, scorer and averaging are taken from it.
        subject: its prompt format is that of the protocol `chat`.
        default: the protocol where the config names none.
        scorer: the scorer where neither the config nor the protocol says one.
        questions: the first one's language decides about the ranking's introduction.
    """
    name, exam = config.protocol or default, config.benchmark
    intro = INTROS.get(name, INTROS["official"]).get(exam, "")
    if name == "cutegpt-mrr":
        language = questions[0].language if questions else "zh"
        intro, scorer = RANKING_INTROS.get(language, RANKING_INTROS["en"]), "text"
    return Protocol(
        format=subject.format if name == "chat" else None,
        scorer=config.scorer or scorer,
        intro=intro,
        titles={key: known.title for key, known in subjects_of(exam).items()},
        layout=_layout(name, exam),
        as_lm_eval=name == "lm-eval",
        average=config.average or _average(name, exam),
    )


def _layout(name: ProtocolName, exam: str) -> Layout:
    words = ZH if exam in CHINESE else EN if exam == "mmlu" else LINES.words
    if name == "cutegpt-mrr":
        return RANKING
    if name == "official":
        if exam in ("agieval", "gaokao"):
            return AGIEVAL
        # MMLU's answers follow a space, the Chinese exams' follow the colon.
        return Layout(words=words, space=" " if exam == "mmlu" else "", keeps_spaces=True)
    if name == "lm-eval":
        return Layout(words=words, keeps_spaces=True)
    return LINES


def _average(name: ProtocolName, exam: str) -> AveragingName:
    """Return how the published number is averaged: C-Eval and CMMLU over subjects."""
    if name in ("chat", "plain", "lm-eval", "cutegpt-mrr"):
        return "micro"
    return "macro" if exam in CHINESE else "micro"
