"""CMMLU (Li et al. 2023, https://arxiv.org/abs/2306.09212): Chinese questions in 67 subjects."""

from hanlin.evaluation.exam import exam
from hanlin.evaluation.multiple_choice import question_benchmark
from hanlin.evaluation.subjects import CMMLU_CHINA

BENCHMARK = question_benchmark(
    exam(split="test", groups={"china": CMMLU_CHINA}),
    summary="CMMLU: Chinese questions, 5 examples, letters scored; the test split.",
    data="its folder, with dev/ and test/ of CSV files",
)
