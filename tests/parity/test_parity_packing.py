"""A packed row gives each document the logits that it has alone, whatever the model's attention."""

import numpy as np
import pytest
import torch
import transformers

from hanlin.core.errors import ConfigError, StageFailedError
from hanlin.data.collate import Collator, collate, collator_for, windows_of
from hanlin.data.pack import PackedRows, Row
from hanlin.data.store import StoreWriter, TokenStore
from hanlin.training.packing_check import check_packing

VOCAB = 100
SMALL = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
    "max_position_embeddings": 256, "pad_token_id": 0,
}  # fmt: skip
SHAPES = {
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {"sliding_window": 8}),
    "mistral-full": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {}),
    "gemma2": ("Gemma2", {"sliding_window": 8, "attn_logit_softcapping": 5.0}),
    "gemma3": ("Gemma3Text", {"sliding_window": 8, "sliding_window_pattern": 2}),
}
# transformers itself refuses sdpa for Gemma 2: it cannot cap scores.
CASES = [(s, a) for s in SHAPES for a in ("sdpa", "eager") if (s, a) != ("gemma2", "sdpa")]


def make_model(shape, attention):
    family, settings = SHAPES[shape]
    config = getattr(transformers, f"{family}Config")(**SMALL, **settings)
    torch.manual_seed(0)
    name = family.removesuffix("Text") + "ForCausalLM"
    model = getattr(transformers, name)(config)
    with torch.no_grad():  # random models hardly look around: make them
        for weights in model.parameters():
            weights.mul_(4.0 if weights.ndim > 1 else 1.0)
    model.set_attn_implementation(attention)
    return model.float().eval()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packing") / "store"
    generator = np.random.default_rng(0)
    with StoreWriter(folder, tokenizer_sha256="t", vocab_size=VOCAB) as writer:
        writer.begin("a")
        for length in [9, 17, 5, 30, 3, 12, 31, 1, 8, 32]:
            writer.add(generator.integers(3, VOCAB, length).tolist())
    return PackedRows(TokenStore.open(folder), seq_len=32, seed=0)


def alone(model, row):
    """Return the logits of each document of a row by itself."""
    found, at = [], 0
    for length in row.lengths:
        ids = torch.from_numpy(row.ids[at : at + length])[None]
        found.append(model(ids, use_cache=False).logits[0])
        at += length
    return torch.cat(found)


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize(("shape", "attention"), CASES)
def test_logits_of_packed_documents_equal_those_of_each_alone(rows, shape, attention, is_flat):
    model = make_model(shape, attention)
    collator = (
        Collator(0, 32, is_flat=True) if is_flat else collator_for(model, pad_id=0, seq_len=32)
    )
    batch = [rows.row(index) for index in range(rows.rows_per_epoch)]
    assert any(len(row.lengths) > 1 for row in batch)
    assert any(len(row.ids) < 32 for row in batch)
    inputs = collator(batch)
    labels = inputs.pop("labels")
    with torch.no_grad():
        output = model(**inputs, labels=labels, use_cache=False)
        wanted = [alone(model, row) for row in batch]
    packed = output.logits
    if is_flat:
        assert packed.shape[1] == sum(len(row.ids) for row in batch)  # no padding at all
        parts = packed[0].split([len(row.ids) for row in batch])
    else:
        parts = [packed[b, : len(row.ids)] for b, row in enumerate(batch)]
    for part, logits in zip(parts, wanted, strict=True):
        torch.testing.assert_close(part, logits, atol=2e-5, rtol=1e-4)
    nats = count = 0.0
    for row, logits in zip(batch, wanted, strict=True):
        at = 0
        for length in row.lengths:
            ids = torch.from_numpy(row.ids[at : at + length])
            nats += torch.nn.functional.cross_entropy(
                logits[at : at + length - 1], ids[1:], reduction="sum"
            ) if length > 1 else 0.0  # fmt: skip
            count, at = count + length - 1, at + length
    assert output.loss.item() == pytest.approx(float(nats) / count, rel=1e-4)


@pytest.mark.parametrize(("shape", "attention"), CASES)
def test_the_check_before_training_passes(rows, shape, attention):
    model = make_model(shape, attention).train()
    found = check_packing(model, rows, collator_for(model, pad_id=0, seq_len=32))
    assert found.is_apart and not found.is_rounded and found.largest < 1e-4
    assert all(module.training for module in model.modules())


class Without:
    """A collator that does one thing wrong, as libraries have done it."""

    def __init__(self, collator, change):
        self.collator, self.change = collator, change
        self.windows, self.is_flat = collator.windows, collator.is_flat

    def __call__(self, rows):
        return self.change(self.collator(rows))


def plain_causal(batch):
    """Let all documents of a row see each other, as a mask of ones does."""
    mask = torch.ones(batch["input_ids"].shape[1], batch["input_ids"].shape[1]).tril().bool()
    return batch | {"attention_mask": mask[None, None].expand(len(batch["input_ids"]), 1, -1, -1)}


def running_positions(batch):
    """Count positions through the whole row."""
    length = batch["input_ids"].shape[1]
    return batch | {"position_ids": torch.arange(length)[None].expand_as(batch["input_ids"])}


@pytest.mark.parametrize("change", [plain_causal, running_positions])
def test_the_check_refuses_what_lets_documents_see_each_other(rows, change, monkeypatch):
    model = make_model("llama", "sdpa")
    collator = collator_for(model, pad_id=0, seq_len=32)
    monkeypatch.setattr(Collator, "__call__", lambda self, rows: change(
        collate(rows, pad_id=0, seq_len=self.seq_len)))  # fmt: skip
    if change is running_positions:  # rotary positions are relative: alone they change nothing
        assert check_packing(model, rows, collator).is_apart
        return
    with pytest.raises(StageFailedError) as caught:
        check_packing(model, rows, collator)
    assert "documents that share a row change each other's logits" in str(caught.value)
    assert "its attention 'sdpa'" in caught.value.why


@pytest.mark.parametrize("shape", ["mistral", "gemma2", "gemma3", "qwen2"])
def test_the_check_refuses_a_forgotten_window(rows, shape):
    model = make_model(shape, "eager")
    right = collator_for(model, pad_id=0, seq_len=32)
    assert any(window == 8 for window in right.windows.values())
    forgotten = {kind: 10_000 if window else None for kind, window in right.windows.items()}
    wrong = Collator(0, 32, right.mask_dtype, forgotten)
    long_rows = [Row(ids := np.arange(3, 3 + 32) % VOCAB, ids, (32,))] * 4

    class LongRows:
        rows_per_epoch = 4

        def row(self, index):
            return long_rows[index]

    with pytest.raises(StageFailedError, match="change each other's logits"):
        check_packing(model, LongRows(), wrong)


def test_windows_longer_than_a_row_need_no_mask_of_their_own(rows):
    model = make_model("gemma2", "eager")
    assert windows_of(model, seq_len=8) is None
    assert windows_of(model, seq_len=9) == {"full_attention": None, "sliding_attention": 8}
    assert windows_of(make_model("llama", "sdpa"), seq_len=1000) is None


def test_other_kinds_of_attention_are_refused():
    model = make_model("llama", "sdpa")
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ConfigError, match="'flex_attention' cannot be used for packed rows"):
        collator_for(model, pad_id=0, seq_len=32)
    model.config._attn_implementation = "flash_attention_2"
    assert collator_for(model, pad_id=0, seq_len=32).is_flat
    model.config._attn_implementation, model.config.layer_types = "sdpa", ["chunked_attention"]
    with pytest.raises(ConfigError, match="layers of the kind 'chunked_attention'"):
        collator_for(model, pad_id=0, seq_len=32)
