"""Bits per byte of a model, against the loss of each text computed by hand."""

import math

import pytest
import torch

from hanlin.models import text_loss
from hanlin.models.load import load_pair
from hanlin.models.text_loss import bits_per_byte, measure
from hanlin.models.tiny import make_tiny

TEXTS = {"en": ["The old bridge.", "A lamp", "x"], "zh": ["河流穿过古城。", "ＡＢ１２🙂"]}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return load_pair(make_tiny(tmp_path_factory.mktemp("model")))


def by_hand(model, tokenizer, text):
    """The loss of one text in nats, the straightforward way."""
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text, at_start=True)]])
    with torch.no_grad():
        logs = model(input_ids=ids).logits.log_softmax(-1)
    return -sum(logs[0, at, ids[0, at + 1]].item() for at in range(ids.shape[1] - 1))


def test_bits_per_byte_of_each_language(pair):
    model, tokenizer = pair
    found = measure(model, texts=TEXTS, tokenizer=tokenizer, seq_len=64)
    for language, texts in TEXTS.items():
        nats = sum(by_hand(model, tokenizer, text) for text in texts)
        size = sum(len(text.encode()) for text in texts)
        assert found[language] == pytest.approx(nats / math.log(2) / size, rel=1e-5)


def test_a_long_text_is_cut_into_windows_that_predict_each_token_once(pair):
    model, tokenizer = pair
    text = "the old bridge crosses the river 河流穿过古城 " * 5
    ids = [tokenizer.bos_id, *tokenizer.encode(text, at_start=True)]
    nats = 0.0
    for start in range(0, len(ids) - 1, 15):
        window = torch.tensor([ids[start : start + 16]])
        with torch.no_grad():
            logs = model(input_ids=window).logits.log_softmax(-1)
        nats -= logs[0, :-1].gather(1, window[0, 1:, None]).sum().item()
    found = measure(model, texts={"zh": [text]}, tokenizer=tokenizer, seq_len=16)
    assert found["zh"] == pytest.approx(bits_per_byte(nats, len(text.encode())), rel=1e-5)


def test_batches_do_not_change_the_result(pair, monkeypatch):
    model, tokenizer = pair
    together = measure(model, texts=TEXTS, tokenizer=tokenizer, seq_len=64)
    monkeypatch.setattr(text_loss, "TOKENS_PER_FORWARD", 1)
    alone = measure(model, texts=TEXTS, tokenizer=tokenizer, seq_len=64)
    assert alone == pytest.approx(together, rel=1e-5)


def test_a_probe_leaves_no_trace(pair):
    model, tokenizer = pair
    model.train()
    state = torch.get_rng_state()
    measure(model, texts=TEXTS, tokenizer=tokenizer, seq_len=64)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    model.eval()


def test_bits_per_byte_needs_bytes():
    assert bits_per_byte(math.log(2) * 12, 4) == pytest.approx(3)
    with pytest.raises(ValueError, match="num_bytes is 0"):
        bits_per_byte(1.0, 0)
