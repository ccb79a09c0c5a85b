"""C-Eval (Huang et al. 2023, https://arxiv.org/abs/2305.08322): Chinese exams in 52 subjects."""

from hanlin.evaluation.benchmark import Benchmark
from hanlin.evaluation.exam import exam

# The authors' sentence; the subject is the file's English name where they have the Chinese one.
INTRO = "以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。"

BENCHMARK = Benchmark(
    summary="C-Eval: Chinese exam questions, 5 examples, letters scored; the val split.",
    data="its folder, with dev/ and val/ of CSV files",
    run=exam(split="val", intro=INTRO),
)
