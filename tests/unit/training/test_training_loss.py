"""The loss in chunks: the same number and the same gradients, without the logits."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hanlin.training.adapters import Lora, add_lora
from hanlin.training.loss import chunked, chunked_loss, head_of

VOCAB = 97
SHAPE = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def make(name="Llama", **settings):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SHAPE, **settings)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)  # away from equal chances
    return model.eval()


def batch(rows=3, length=17, seed=1):
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCAB, (rows, length), generator=draw)
    labels = ids.clone()
    labels[torch.rand(ids.shape, generator=draw) < 0.4] = -100
    return {"input_ids": ids, "labels": labels, "use_cache": False}


def grads(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def both(model, base, inputs, **more):
    """Return loss and gradients the plain way and in chunks."""
    found = []
    for is_chunked in (False, True):
        model.zero_grad()
        if is_chunked:
            with chunked(base, probe=PROBE) as used:
                assert used
                loss = model(**inputs, **more).loss
                loss.backward()
        else:
            loss = model(**inputs, **more).loss
            loss.backward()
        found.append((loss.detach(), grads(model)))
    return found


def assert_same(found):
    (plain, plain_grads), (new, new_grads) = found
    assert new == pytest.approx(plain.item(), rel=1e-6)
    assert plain_grads.keys() == new_grads.keys() and plain_grads
    for name, grad in plain_grads.items():
        largest = grad.abs().max().item()
        assert torch.allclose(grad, new_grads[name], rtol=0, atol=5e-6 * max(1.0, largest)), name


PROBE = {"input_ids": batch()["input_ids"], "use_cache": False}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr("hanlin.training.loss.CHUNK_BYTES", 5 * 4 * VOCAB)
    monkeypatch.setattr(
        chunked_loss, "__kwdefaults__", {"items": None, "chunk_bytes": 5 * 4 * VOCAB}
    )


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("name", ["Llama", "Mistral", "Qwen3", "Gemma2", "Gemma"])
def test_same_loss_and_gradients(name, is_tied):
    model = make(name, tie_word_embeddings=is_tied)
    assert_same(both(model, model, batch()))
    assert_same(both(model, model, batch(), num_items_in_batch=torch.tensor(50)))


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("ids", [[], [90, 91, 96]])
def test_adapters(is_tied, ids):
    base = make(tie_word_embeddings=is_tied)
    model = add_lora(base, Lora(rank=2), ids=ids, seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:  # B starts at zero
                parameter.add_(
                    torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
                    * 0.1
                )
    assert_same(both(model, model.get_base_model(), batch()))


def test_lora_on_the_head():
    base = make()
    model = add_lora(base, Lora(rank=2, target_modules=["q_proj", "lm_head"]), ids=[], seed=3)
    assert_same(both(model, model.get_base_model(), batch()))


def test_nothing_counts():
    model, inputs = make(), batch()
    inputs["labels"] = torch.full_like(inputs["labels"], -100)
    with chunked(model, probe=PROBE):
        loss = model(**inputs, num_items_in_batch=torch.tensor(7)).loss
        loss.backward()
    assert loss == 0 and all(not grad.any() for grad in grads(model).values())


def test_no_gradients_where_none_are_wanted():
    model, inputs = make(), batch()
    with torch.no_grad():
        plain = model(**inputs).loss
        hidden = model.model(inputs["input_ids"]).last_hidden_state
        found = chunked_loss(hidden, inputs["labels"], head_of(model), chunk_bytes=1)
    assert found.item() == pytest.approx(plain.item(), rel=1e-6) and not found.requires_grad


def test_bfloat16():
    model = make()
    inputs = batch()
    with torch.autocast("cpu", torch.bfloat16):
        (plain, plain_grads), (new, new_grads) = both(model, model, inputs)
    assert new == pytest.approx(plain.item(), rel=1e-3)
    for name, grad in plain_grads.items():
        assert torch.allclose(grad, new_grads[name], atol=0.02 * grad.abs().max().item()), name


class Largest(TorchDispatchMode):
    """Remembers the largest tensor with as many columns as the vocabulary has entries."""

    def __init__(self):
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(tensor, torch.Tensor) and tensor.shape[-1:] == (VOCAB,):
                self.rows = max(self.rows, tensor.numel() // VOCAB)
        return found


@pytest.mark.parametrize("is_adapter", [False, True])
def test_logits_of_a_batch_are_never_there(is_adapter):
    base = make()
    model = add_lora(base, Lora(rank=2), ids=[95], seed=3) if is_adapter else base
    inputs = batch(rows=8, length=60)
    with chunked(base, probe=PROBE), Largest() as mode:
        model(**inputs).loss.backward()
    assert 0 < mode.rows <= 32  # the transposed head has H = 32 rows
    with Largest() as mode:
        model(**inputs).loss.backward()
    assert mode.rows == 8 * 60


def test_without_labels_nothing_changes():
    model, inputs = make(), batch()
    del inputs["labels"]
    expected = model(**inputs).logits
    with chunked(model, probe=PROBE):
        assert torch.equal(model(**inputs).logits, expected)
    assert "forward" not in vars(model)


def test_a_model_with_another_loss_keeps_it(caplog):
    model, inputs = make(), batch()
    own = type(model).forward

    def halved(self, *args, **kwargs):
        found = own(self, *args, **kwargs)
        found.loss = found.loss / 2
        return found

    other = copy.deepcopy(model)
    other.__class__ = type("Other", (type(model),), {"forward": halved})
    with chunked(other, probe=PROBE) as used:
        assert not used
        assert other(**inputs).logits is not None
    assert "Other computes its loss in a way of its own" in caplog.text
