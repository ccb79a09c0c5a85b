"""The memory of training: each term against what torch really keeps."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hanlin.models.info import describe, read_info
from hanlin.models.memory import (
    ALL_LINEAR,
    Program,
    Training,
    activation_bytes,
    adapter_parameters,
    base_bytes,
    layer_bytes,
    training_memory,
)

ROWS, SEQ_LEN, RANK = 2, 128, 8
LLAMA_7B = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "vocab_size": 32000,
    "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 32,
    "max_position_embeddings": 2048, "tie_word_embeddings": False,
}  # fmt: skip


def shape(layers, kv_heads=2):
    return {
        "model_type": "llama", "num_hidden_layers": layers, "hidden_size": 64, "vocab_size": 500,
        "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": kv_heads,
        "max_position_embeddings": 256, "tie_word_embeddings": False,
    }  # fmt: skip


def kept_bytes(layers, *, is_adapter, precision, is_recomputing):
    """Return the bytes of all tensors that autograd keeps, weights and their copies left out."""
    from hanlin.training.adapters import Lora, add_lora
    from hanlin.training.loss import chunked

    model = base = LlamaForCausalLM(LlamaConfig(**shape(layers)))
    if is_adapter:
        base.to(torch.bfloat16 if precision == "bf16" else torch.float32)
        model = add_lora(base, Lora(rank=RANK), ids=[], seed=1)
    model.train()
    if is_recomputing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    copies = {
        tuple(s)
        for p in model.parameters()
        for s in (p.shape, p.t().shape if p.dim() > 1 else p.shape)
    }
    kept, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tuple(tensor.shape) not in copies:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    ids = torch.randint(3, 500, (ROWS, SEQ_LEN), generator=torch.Generator().manual_seed(1))
    inputs = {
        "input_ids": ids, "use_cache": False,
        "position_ids": torch.arange(SEQ_LEN)[None].expand(ROWS, SEQ_LEN),
        "attention_mask": torch.ones(ROWS, 1, SEQ_LEN, SEQ_LEN, dtype=torch.bool).tril(),
    }  # fmt: skip
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    in_chunks = chunked(base, probe={"input_ids": ids[:, :8], "use_cache": False})
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with autocast, in_chunks, hooks:
        model(**inputs, labels=ids)
    return sum(kept.values())


@pytest.mark.parametrize("is_recomputing", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_activations_are_what_autograd_keeps(method, precision, is_recomputing):
    more = {
        "is_adapter": method == "lora",
        "precision": precision,
        "is_recomputing": is_recomputing,
    }
    measured = (kept_bytes(6, **more) - kept_bytes(2, **more)) / 4
    training = Training(
        method, ROWS, SEQ_LEN, precision=precision, rank=RANK if method == "lora" else 0,
        is_recomputing=is_recomputing,
    )  # fmt: skip
    found = [activation_bytes(describe(shape(n), name="x"), training) for n in (2, 6)]
    assert (found[1] - found[0]) / 4 == pytest.approx(measured, rel=0.01)


def pure_kept_bytes(layers, *, targets):
    """Return the same for a model whose weights and adapters are all bfloat16, without autocast."""
    from hanlin.training.adapters import Lora, add_lora

    model = LlamaForCausalLM(LlamaConfig(**shape(layers, kv_heads=4))).to(torch.bfloat16)
    if targets is not None:
        model = add_lora(model, Lora(rank=RANK, target_modules=targets), ids=[], seed=1)
        model = model.to(torch.bfloat16)
    model.train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    ids = torch.randint(3, 500, (ROWS, SEQ_LEN), generator=torch.Generator().manual_seed(1))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=ids, use_cache=False, labels=ids)
    return sum(kept.values())


@pytest.mark.parametrize("adapted", [None, ("q", "v"), ALL_LINEAR])
def test_activations_of_programs_without_autocast(adapted):
    modules = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
    targets = None if adapted is None else [modules.get(name, f"{name}_proj") for name in adapted]
    measured = (pure_kept_bytes(6, targets=targets) - pure_kept_bytes(2, targets=targets)) / 4
    training = Training(
        "full" if adapted is None else "lora", ROWS, SEQ_LEN, precision="bf16",
        rank=0 if adapted is None else RANK, adapted=adapted or ALL_LINEAR,
        program=Program(casting="pure"),
    )  # fmt: skip
    info = describe(shape(2, kv_heads=4), name="x")
    assert layer_bytes(info, training) * ROWS * SEQ_LEN == pytest.approx(measured, rel=0.01)


def test_the_peak_is_the_largest_of_three_moments():
    info = describe(LLAMA_7B, name="x")
    short = Training(precision="bf16", is_recomputing=True, accumulates=False)
    assert training_memory(info, short).gradients == 4 * info.parameters  # at the step
    long = Training(precision="bf16", rows=16, seq_len=2048, accumulates=False)
    memory = training_memory(info, long)  # at the loss, before any gradient
    assert memory.gradients == 0 and memory.activations > 4 * info.parameters
    assert training_memory(info, replace(long, accumulates=True)).gradients == 4 * info.parameters


def test_a_card_holds_a_context_and_the_host_can_hold_the_rest():
    info = describe(LLAMA_7B, name="x")
    on_card = Training("lora", 1, 512, precision="bf16", rank=8, on_gpu=True)
    counted = replace(on_card, program=Program(has_cuda_context=False))
    difference = training_memory(info, on_card).total - training_memory(info, counted).total
    assert difference == 500_000_000
    full = Training(precision="bf16", is_recomputing=True, zero_stage=3, processes=8)
    offloaded = training_memory(info, replace(full, on_host="all"))
    assert offloaded.weights == offloaded.optimizer == offloaded.gradients == 0


@pytest.mark.parametrize("method", ["int8", "qlora"])
def test_weights_of_quantized_bases(tmp_path, method):
    pytest.importorskip("bitsandbytes")
    from hanlin.models.save import save_weights
    from hanlin.models.tiny import Architecture, make_tiny, new_llama
    from hanlin.training.methods import load_for

    architecture = Architecture(hidden_size=256, layers=3, heads=4, kv_heads=2)
    make_tiny(tmp_path)
    save_weights(new_llama(architecture, read_info(tmp_path).vocab_size, 1), tmp_path)
    model, _ = load_for(method, str(tmp_path), precision="bf16")
    total = 0
    for parameter in [*model.parameters(), *model.buffers()]:
        total += parameter.numel() * parameter.element_size()
        state = getattr(parameter, "quant_state", None)
        scales = getattr(parameter, "SCB", None)
        total += 0 if scales is None else scales.numel() * scales.element_size()
        if state is not None:
            total += state.absmax.numel() * state.absmax.element_size()
            total += state.state2.absmax.numel() * state.state2.absmax.element_size()
    info = describe(model.config.to_dict(), name="x")
    assert base_bytes(info, method=method, precision="bf16") == pytest.approx(total, rel=0.01)


def test_parameters_of_an_adapter():
    from hanlin.training.adapters import Lora, add_lora

    base = LlamaForCausalLM(LlamaConfig(**shape(2)))
    info = describe(base.config.to_dict(), name="x")
    model = add_lora(base, Lora(rank=RANK), ids=[490, 491], seed=1)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert adapter_parameters(info, rank=RANK, grown_rows=2) == trained


def test_terms_of_full_training_and_what_zero_shares_out():
    info = describe(LLAMA_7B, name="x")
    alone = training_memory(info, Training(precision="bf16", is_recomputing=True))
    assert alone.weights == alone.gradients == 4 * info.parameters
    assert alone.optimizer == 8 * info.parameters
    assert alone.total == sum(v for k, v in alone.as_dict().items() if k != "total")
    shared = [("optimizer",), ("optimizer", "gradients"), ("optimizer", "gradients", "weights")]
    for stage, names in enumerate(shared, start=1):
        training = Training(precision="bf16", is_recomputing=True, zero_stage=stage, processes=8)
        found = training_memory(info, training)
        for name in ("weights", "gradients", "optimizer"):
            share = 8 if name in names else 1
            assert getattr(found, name) == pytest.approx(getattr(alone, name) / share)


def test_smaller_methods_take_less():
    info = describe(LLAMA_7B, name="x")
    totals = []
    for method in ("full", "lora", "int8", "qlora"):
        trained = None if method == "full" else adapter_parameters(info, rank=8)
        training = Training(method, 1, 256, trained, "fp16", rank=8)
        totals.append(training_memory(info, training).total)
    assert totals == sorted(totals, reverse=True)
    assert totals[2] < 11e9  # one card of 11 GB tunes 7B in 8 bits at 256 tokens (Chinese-Vicuna)
