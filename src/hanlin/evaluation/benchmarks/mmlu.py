"""MMLU (Hendrycks et al. 2021, https://arxiv.org/abs/2009.03300): English in 57 subjects."""

from hanlin.evaluation.benchmark import Benchmark
from hanlin.evaluation.exam import exam

INTRO = "The following are multiple choice questions (with answers) about {subject}."

BENCHMARK = Benchmark(
    summary="MMLU: English questions, 5 examples, letters scored; the test split.",
    data="its folder, with dev/ and test/ of CSV files",
    run=exam(split="test", intro=INTRO),
)
