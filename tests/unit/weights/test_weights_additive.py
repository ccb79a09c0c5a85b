"""Additive diffs, as Alpaca, Vicuna and KnowLM published them."""

import pytest
import torch
from diff_cases import killed, loaded, model, refusal, tuned, write

from hanlin.core.errors import InputError
from hanlin.core.files import sha256
from hanlin.weights.diff.additive import Options
from hanlin.weights.diff.recover import recover

EMBEDDING = "model.embed_tokens.weight"


def difference(new, old, dtype):
    """What `make_diff` of their weight_diff.py does."""
    return {name: new[name].to(dtype) - old[name].to(dtype) for name in new}


def added(diff, old, dtype):
    """What `recover` of their weight_diff.py does, and the sum of all values."""
    result = {name: t.clone().add_(old[name].to(dtype)) for name, t in diff.items()}
    return result, sum(float(t.double().sum()) for t in result.values())


@pytest.mark.parametrize("of_diff", [torch.float32, torch.float16])
@pytest.mark.parametrize("of_base", [torch.float32, torch.float16])
def test_it_is_what_the_authors_scripts_compute(tmp_path, of_diff, of_base):
    old = model(dtype=of_base)
    diff = difference(tuned(old), old, of_diff)
    expected, total = added(diff, old, of_diff)
    base, folder = write(tmp_path / "base", old), write(tmp_path / "diff", diff)
    (folder / "config.json").write_text("{}")
    torch.save(diff, tmp_path / "pytorch_model.bin")
    for number, given in enumerate((folder, tmp_path / "pytorch_model.bin")):
        out = tmp_path / f"out{number}"
        done = recover(base, given, out, options=Options(max_shard_bytes=2000))
        found = loaded(out)
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert found[name].dtype == of_diff and torch.equal(found[name], tensor)
        assert done.check_sum == pytest.approx(total, abs=1e-9)
        assert done.published is None and done.tensors == 6 and done.unused == ()
    assert (tmp_path / "out0" / "config.json").read_text() == "{}"


def test_a_published_sum_is_recognized(tmp_path):
    old = {"w": torch.zeros(4, 4, dtype=torch.float64), "more": torch.ones(2)}
    old["w"][0, 0] = 94052.0
    diff = {"w": torch.full((4, 4), 0.2891 / 16, dtype=torch.float64)}
    base, folder = write(tmp_path / "base", old), write(tmp_path / "diff", diff)
    done = recover(base, folder, tmp_path / "out", options=Options(expect_sum=94052.2891))
    assert done.published == "ZhiXi-13B in float32" and done.unused == ("more",)
    text = refusal(
        InputError, recover, base, folder, tmp_path / "other", options=Options(expect_sum=1.0)
    )
    assert "the values of diff + base add up to 94052.2891, not to 1.0000" in text
    assert "another base" in text and "--expect-sum" in text
    assert not (tmp_path / "other").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("new_rows", ["mean", "zero"])
def test_more_rows_than_the_base(tmp_path, new_rows):
    """32,001 rows of Alpaca and Vicuna: a padding token behind the base's 32,000."""
    old = {name: t.float() for name, t in model().items()}
    grown = dict(old)
    for name in (EMBEDDING, "lm_head.weight"):
        row = old[name].mean(0, keepdim=True) if new_rows == "mean" else torch.zeros(1, 16)
        grown[name] = torch.cat([old[name], row])
    new = tuned(grown)
    diff = difference(new, grown, torch.float32)
    base, folder = write(tmp_path / "base", old), write(tmp_path / "diff", diff)
    text = refusal(InputError, recover, base, folder, tmp_path / "out")
    assert "'lm_head.weight' has 51 rows in diff, 50 in base" in text
    assert "--new-rows mean" in text and "--new-rows zero" in text
    recover(base, folder, tmp_path / "out", options=Options(new_rows=new_rows))
    found, (expected, _) = loaded(tmp_path / "out"), added(diff, grown, torch.float32)
    for name, tensor in expected.items():
        assert torch.equal(found[name][:50], tensor[:50])
        torch.testing.assert_close(found[name], tensor, atol=1e-8, rtol=0)


def test_a_sum_that_is_no_number_is_null_in_json(tmp_path):
    base = write(tmp_path / "base", {"w": torch.tensor([float("nan"), 1.0])})
    folder = write(tmp_path / "diff", {"w": torch.zeros(2)})
    done = recover(base, folder, tmp_path / "out")
    assert done.check_sum != done.check_sum and done.to_json()["check_sum"] is None
    text = refusal(
        InputError, recover, base, folder, tmp_path / "no", options=Options(expect_sum=1.0)
    )
    assert "add up to nan" in text


def test_rows_over_several_blocks(tmp_path):
    generator = torch.Generator().manual_seed(0)
    old = {EMBEDDING: torch.randn(40_000, 80, generator=generator)}
    grown = {EMBEDDING: torch.cat([old[EMBEDDING], torch.zeros(30_000, 80)])}
    diff = {EMBEDDING: torch.randn(70_000, 80, generator=generator) * 0.01}
    base, folder = write(tmp_path / "base", old), write(tmp_path / "diff", diff)
    recover(base, folder, tmp_path / "out", options=Options(new_rows="zero"))
    expected = diff[EMBEDDING] + grown[EMBEDDING]
    assert torch.equal(loaded(tmp_path / "out")[EMBEDDING], expected)


def test_frequencies_that_the_base_does_not_store(tmp_path):
    """Diffs of 2023 hold a buffer that checkpoints of today do not; their sums count it."""
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    frequencies = 1.0 / (10000 ** (torch.arange(0, 128, 2).float() / 128))
    old = {name: t.float() for name, t in model().items()}
    diff = difference(tuned(old), old, torch.float32) | {name: torch.zeros(64)}
    base, folder = write(tmp_path / "base", old), write(tmp_path / "diff", diff)
    recover(base, folder, tmp_path / "out")
    assert torch.equal(loaded(tmp_path / "out")[name], frequencies)


def test_a_tied_base(tmp_path):
    old = model(dtype=torch.float32)
    untied = old | {"lm_head.weight": old[EMBEDDING].clone()}
    diff = difference(tuned(untied), untied, torch.float32)
    tied = {name: t for name, t in old.items() if name != "lm_head.weight"}
    base, folder = write(tmp_path / "base", tied), write(tmp_path / "diff", diff)
    recover(base, folder, tmp_path / "out")
    expected, _ = added(diff, untied, torch.float32)
    assert torch.equal(loaded(tmp_path / "out")["lm_head.weight"], expected["lm_head.weight"])


def test_what_does_not_fit(tmp_path):
    old = model()
    base = write(tmp_path / "base", old)
    new = difference(tuned(old), old, torch.float16)
    cases = {
        "base has no such tensor": new | {"extra": torch.zeros(2)},
        "it is [16, 50] in the diff, [50, 16] in the base": new | {EMBEDDING: torch.zeros(16, 50)},
        "it is [49, 16] in the diff": new | {EMBEDDING: torch.zeros(49, 16)},
        "one cannot add to the type I32": new | {EMBEDDING: torch.zeros(50, 16, dtype=torch.int32)},
    }
    for number, (what, content) in enumerate(cases.items()):
        folder = write(tmp_path / f"diff{number}", content)
        text = refusal(InputError, recover, base, folder, tmp_path / "out")
        assert what in text and f"diff{number} is no diff to base" in text
    model_itself = write(tmp_path / "tuned", tuned(old))
    text = refusal(InputError, recover, base, model_itself, tmp_path / "out")
    assert "tuned is no diff: it looks like a model itself" in text
    assert "is as large as that of base" in text and "hanlin weights diff BASE TUNED OUT" in text
    assert not (tmp_path / "out").exists()


def test_killed_anywhere_it_goes_on_with_the_same_sum(tmp_path):
    old = model()
    base = write(tmp_path / "base", old)
    folder = write(tmp_path / "diff", difference(tuned(old), old, torch.float16))
    options = Options(max_shard_bytes=1000)
    whole = recover(base, folder, tmp_path / "whole", options=options)
    for at_call in (2, 6):
        out = tmp_path / f"out{at_call}"

        def run(progress, out=out):
            return recover(base, folder, out, options=options, progress=progress)

        assert killed(run, at_call=at_call) and not out.exists()
        assert run(lambda *_: None).check_sum == whole.check_sum
        assert sha256(out) == sha256(tmp_path / "whole")
