"""C-Eval (Huang et al. 2023, https://arxiv.org/abs/2305.08322): Chinese exams in 52 subjects."""

from hanlin.evaluation.exam import exam
from hanlin.evaluation.multiple_choice import question_benchmark
from hanlin.evaluation.subjects import CEVAL_HARD

BENCHMARK = question_benchmark(
    exam(split="val", groups={"hard": CEVAL_HARD}),
    summary="C-Eval: Chinese exam questions, 5 examples, letters scored; the val split.",
    data="its folder, with dev/ and val/ of CSV files",
)
