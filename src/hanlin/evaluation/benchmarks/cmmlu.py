"""CMMLU (Li et al. 2023, https://arxiv.org/abs/2306.09212): Chinese questions in 67 subjects."""

from hanlin.evaluation.benchmark import Benchmark
from hanlin.evaluation.exam import exam

# The authors' sentence; the subject is the file's English name where they have the Chinese one.
INTRO = "以下是关于{subject}的单项选择题，请直接给出正确答案的选项。"

BENCHMARK = Benchmark(
    summary="CMMLU: Chinese questions, 5 examples, letters scored; the test split.",
    data="its folder, with dev/ and test/ of CSV files",
    run=exam(split="test", intro=INTRO),
)
