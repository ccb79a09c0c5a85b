"""On a CUDA device shared beginnings are scored in every precision. Skipped where there is none."""

import random

import pytest
import torch

from hanlin.inference import prefix
from hanlin.models.load import load_model
from hanlin.models.tiny import make_tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1), ("float16", 0.02)]
)
@pytest.mark.parametrize("sizes", [prefix.SIZES["cuda"], prefix.Sizes(100, 30)])
def test_scores_are_those_of_each_sequence_alone(tmp_path, monkeypatch, dtype, tolerance, sizes):
    monkeypatch.setattr(prefix, "SIZES", {"cuda": sizes})
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    folder, draw = make_tiny(tmp_path / "tiny", hidden_size=64), random.Random(0)
    shots = [draw.randint(3, 399) for _ in range(60)]
    requests = [
        ([*shots, *(draw.randint(3, 399) for _ in range(9))], [draw.randint(3, 399), option])
        for _ in range(20)
        for option in range(3, 7)
    ]
    reference = load_model(folder)
    with torch.inference_mode():
        expected = []
        for context, answer in requests:
            log_p = reference(torch.tensor([[*context, *answer]])).logits[0].log_softmax(-1)
            places = range(len(context) - 1, len(context) + len(answer) - 1)
            expected.append(sum(log_p[p, t].item() for p, t in zip(places, answer, strict=True)))
    model = load_model(folder).to("cuda", dtype=getattr(torch, dtype))
    found = prefix.score_requests(model, requests, max_length=512)
    assert [score.log_likelihood for score in found] == pytest.approx(expected, abs=tolerance)
