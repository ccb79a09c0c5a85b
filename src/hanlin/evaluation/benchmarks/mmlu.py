"""MMLU (Hendrycks et al. 2021, https://arxiv.org/abs/2009.03300): English in 57 subjects."""

from hanlin.evaluation.exam import exam
from hanlin.evaluation.multiple_choice import question_benchmark

BENCHMARK = question_benchmark(
    exam(split="test"),
    summary="MMLU: English questions, 5 examples, letters scored; the test split.",
    data="its folder, with dev/ and test/ of CSV files",
)
