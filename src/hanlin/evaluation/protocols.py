"""Which named protocols are there? Their prompts as data; every number is named with its own.

official: the authors' prompt (C-Eval: Huang et al. 2023; CMMLU: Li et al. 2023; MMLU: Hendrycks et
al. 2021; AGIEval: Zhong et al. 2023, `src/dataset_loader.py` of its repository). lm-eval:
lm-evaluation-harness 0.4.13. opencompass: open-compass/opencompass, configs/datasets/{ceval/
ceval_ppl_578f8d, cmmlu/cmmlu_ppl_8b9c76, mmlu/mmlu_ppl_ac766d}.py, as it writes them for a model
without a chat template. cutegpt-mrr: options ranked by text (Xiezhi: Gu et al. 2023,
`Knowledge_Evaluator/xiezhi_evaluate.py`; CuteGPT's tables). Our own wording, where no source could
be read: the intro of M3KE; GAOKAO-Bench is asked in AGIEval's layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hanlin.core.errors import ConfigError
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
    "opencompass": {
        "ceval": "以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。",
        "cmmlu": "以下是关于{subject}的单项选择题，请直接给出正确答案的选项。",
        "mmlu": "The following are multiple choice questions (with answers) about  {subject}.",
    },
}
SHOTS_INTROS = {
    "zh": "以下是考试中各个问题的答案。",
    "en": "Here are the answers for the problems in the exam.",
}
RANKING_INTROS = {
    "zh": "下面请你作为一个答题者，回答一道选择题。我会在“问题描述”中描述这道问题是什么、"
    "“所有选项”中列出所有可以选择的选项、请你将你认为正确的选项输出在“答案”后面。"
    "请你将你认为正确的选项内容进行输出，不要输出多余的内容。",
    "en": "Below you will be asked to answer a multiple choice question as a respondent. I will "
    'describe what the question is in the "Question Description", list all available options in '
    'the "All Options", and ask you to output the option you think is correct after the "Answer" '
    "field. Please do not output any extra content, only output the text of the option which you "
    "think is right. ",
}
RANKING_SHOTS_INTROS = {
    "zh": "下面请你作为一个答题者，回答一道选择题。我会在“问题描述”中描述这道问题是什么、"
    "“所有选项”中列出所有可以选择的选项、请你将你认为正确的选项输出在“答案”后面。"
    "我会在前面给你几个例子，并用“Demonstration”符号进行标记，请你根据给出的例子的格式和可以借鉴的信息，"
    "只回答最后一题。请你将你认为正确的选项内容进行输出，不要输出多余的文本。",
    "en": "Below you will be asked to answer a multiple choice question as a respondent. I will "
    'describe what the question is in the "Question Description", list all available options in '
    'the "All Options", and ask you to output the option you think is correct after the "Answer" '
    'field. I will give you a few examples up front, marked with the "Demonstration" word. You '
    "only need to answer the last question. Please follow the format of the examples given and "
    "draw on all the possible information in the example to raise the chance to correctly answer "
    "the question. Please do not output any extra content, only output the text of the option "
    "which you think is right. ",
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
        "zh": "{passage}问题：{question} 选项：{options}\n答案：从A到{last}, 我们应选择",
        "en": "{passage}Q: {question} Answer Choices: {options}\n"
        "A: Among A through {last}, the answer is",
    },
    clozes={
        "zh": "{passage}问题：{question}\n答案：",
        "en": "{passage}Q: {question}\nA: The answer is",
    },
)
AGIEVAL_SHOTS = Layout(
    letter="({letter}){option}",
    option_gap=" ",
    templates={
        "zh": "{passage} {question}\n从以下选项中选择:    {options}\n答案是",
        "en": "{passage} {question}\nChoose from the following options:    {options}\n"
        "The answer is therefore",
    },
    clozes={"zh": "{question}\n答案是", "en": "{question}\nThe answer is therefore"},
    first_number=1,
    intro_gap="\n",
)
PROBLEM = {"zh": "问题 {number}.   {block}", "en": "Problem {number}.   {block}"}
OPENCOMPASS = {
    "ceval": Layout(
        space="\n", gap="\n", intro_gap="\n", repeats_intro=True, keeps_spaces=True,
        templates=dict.fromkeys(("zh", "en"), "{question}\n{options}\n答案: "),
    ),
    "cmmlu": Layout(
        gap="\n", intro_gap="\n", repeats_intro=True, keeps_spaces=True,
        templates=dict.fromkeys(("zh", "en"), "题目：{question}\n{options}\n答案是:"),
    ),
    "mmlu": Layout(words=EN, gap="\n", keeps_spaces=True),
}  # fmt: skip


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
        config: protocol, scorer, shots and averaging are taken from it.
        subject: its prompt format is that of the protocol `chat`.
        default: the protocol where the config names none.
        scorer: the scorer where neither the config nor the protocol says one.
        questions: the first one's language decides about introductions in several languages;
            AGIEval has exams in both, and each is asked in its own.

    Raises:
        ConfigError: the protocol does not have this benchmark.
    """
    name, exam = config.protocol or default, config.benchmark
    if name == "opencompass" and exam not in OPENCOMPASS:
        raise ConfigError(
            f"the protocol opencompass is not known for {exam}",
            why=f"its prompts were read for {', '.join(OPENCOMPASS)}",
            fix="choose another protocol, for example --protocol official",
        )
    language = questions[0].language if questions else "zh"
    is_ranking, shots = name == "cutegpt-mrr", config.shots or 0
    protocol = Protocol(
        format=subject.format if name == "chat" else None,
        scorer=config.scorer or ("text" if is_ranking else scorer),
        intro=_intro(name, exam, language=language, shots=shots),
        titles={key: known.title for key, known in subjects_of(exam).items()},
        layout=_layout(name, exam, language=language, shots=shots),
        as_lm_eval=name == "lm-eval",
        average=config.average or _average(name, exam),
    )
    if name != "official" or exam not in ("agieval", "gaokao") or not shots:
        return protocol
    written = {
        code: replace(
            protocol,
            intro=_intro(name, exam, language=code, shots=shots),
            layout=_layout(name, exam, language=code, shots=shots),
        )
        for code in PROBLEM
    }
    return replace(protocol, languages=written)


def _intro(name: ProtocolName, exam: str, *, language: str, shots: int) -> str:
    if name == "cutegpt-mrr":
        intros = RANKING_SHOTS_INTROS if shots else RANKING_INTROS
        return intros.get(language, intros["en"])
    if name == "official" and exam in ("agieval", "gaokao"):
        return SHOTS_INTROS.get(language, SHOTS_INTROS["en"]) if shots else ""
    return INTROS.get(name, INTROS["official"]).get(exam, "")


def _layout(name: ProtocolName, exam: str, *, language: str, shots: int) -> Layout:
    words = ZH if exam in CHINESE else EN if exam == "mmlu" else LINES.words
    if name == "cutegpt-mrr":
        return RANKING
    if name == "opencompass":
        return OPENCOMPASS[exam]
    if name == "official":
        if exam in ("agieval", "gaokao"):
            around = PROBLEM.get(language, PROBLEM["en"])
            return replace(AGIEVAL_SHOTS, example=around, asked=around) if shots else AGIEVAL
        # MMLU's answers follow a space, the Chinese exams' follow the colon.
        return Layout(words=words, space=" " if exam == "mmlu" else "", keeps_spaces=True)
    if name == "lm-eval":
        return Layout(words=words, keeps_spaces=True)
    return LINES


def _average(name: ProtocolName, exam: str) -> AveragingName:
    """Return how the published number is averaged: C-Eval and CMMLU over subjects."""
    if name == "opencompass":
        return "macro"
    if name in ("chat", "plain", "lm-eval", "cutegpt-mrr"):
        return "micro"
    return "macro" if exam in CHINESE else "micro"
