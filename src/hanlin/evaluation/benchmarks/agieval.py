"""AGIEval (Zhong et al. 2023, https://arxiv.org/abs/2304.06364): exams, passages, clozes."""

from __future__ import annotations

from hanlin.core.records import Question
from hanlin.data.readers import BadRows
from hanlin.data.readers.questions_gaokao import read_agieval, read_agieval_examples
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.data_sets import data_folder
from hanlin.evaluation.exam import choosable, notes_of
from hanlin.evaluation.multiple_choice import Paper, question_benchmark
from hanlin.evaluation.protocol import Protocol
from hanlin.evaluation.protocols import protocol_for
from hanlin.evaluation.shots import choose_examples, leave_one_out

EXAMPLES = "few_shot_prompts.csv"


def paper(config: BenchmarkConfig, subject: Subject, seed: int) -> tuple[Paper, Protocol]:
    """Return the questions; examples are the authors', or others of the same exam."""
    folder, shots = data_folder(config), config.shots or 0
    bad = BadRows(config.max_bad_rows)
    questions = list(read_agieval(folder, bad=bad))
    file = folder / EXAMPLES
    if not file.is_file():
        file = folder.parent / EXAMPLES
    pool: list[Question] = []
    if shots and file.is_file():
        pool = read_agieval_examples(file, bad=BadRows(config.max_bad_rows))
    examples = choose_examples(questions, pool, shots=shots, how=config.shot_choice, seed=seed)
    protocol = protocol_for(config, subject, default="official", questions=questions)
    asked, left_out = choosable(questions, protocol, config)
    return Paper(
        questions=asked,
        examples=examples if pool else leave_one_out(questions, shots=shots),
        notes={
            **notes_of(config, questions, bad),
            **left_out,
            "examples": file.name if pool else "other questions of the same exam",
        },
    ), protocol


BENCHMARK = question_benchmark(
    paper,
    summary="AGIEval: exam questions with passages, several answers, or without options (cloze).",
    data="its folder of JSON-lines files, or one of them",
)
