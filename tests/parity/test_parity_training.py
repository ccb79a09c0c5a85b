"""Our set-up of the Trainer against a plain torch loop, and against itself with other portions."""

import pytest
import torch

from hanlin.core.events import EventLog, read_events
from hanlin.core.stage import StageContext
from hanlin.data.pack import PackedRows
from hanlin.data.store import TokenStore
from hanlin.models.load import load_pair
from hanlin.training.schedule import Schedule
from hanlin.training.trainer import Job, train
from training_world import make_world

STEPS, ROWS, SEQ_LEN = 6, 8, 48
SETTINGS = {
    "steps": STEPS, "seq_len": SEQ_LEN, "learning_rate": 3e-3, "log_every": 1, "threads": 1,
    "warmup_steps": 2, "weight_decay": 0.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def trained(world, out, *, store, micro_batch_size):
    """Train with 8 rows a step in portions of a size; return weights and losses."""
    model, tokenizer = load_pair(world.model)
    schedule = Schedule(
        micro_batch_size=micro_batch_size,
        gradient_accumulation_steps=ROWS // micro_batch_size,
        **SETTINGS,
    )
    rows = PackedRows(TokenStore.open(store), seq_len=SEQ_LEN, seed=5)
    log = EventLog(out / "events.jsonl")
    train(Job(model, rows, tokenizer.pad_id, schedule), StageContext("t", out, 0, log))
    losses = [event["loss"] for event in read_events(log.path) if event["event"] == "metric"]
    return model.state_dict(), losses


@pytest.mark.parametrize("store", ["store", "chat"])
@pytest.mark.parametrize("micro_batch_size", [4, 1])
def test_portions_do_not_change_a_step(world, tmp_path, store, micro_batch_size):
    # Rows of conversations have few and different numbers of trained tokens: a mean of means of
    # the portions would weigh them wrongly.
    store = getattr(world, store)
    whole, losses = trained(world, tmp_path / "8", store=store, micro_batch_size=8)
    parts, again = trained(world, tmp_path / "n", store=store, micro_batch_size=micro_batch_size)

    assert again == pytest.approx(losses, abs=1e-5)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], atol=1e-5, rtol=0, msg=name)


def reference(world, store):
    """Train with nothing but torch: one document at a time, no packing, no mask, no Trainer."""
    model, _ = load_pair(world.model)
    model.train()
    rows = PackedRows(TokenStore.open(store), seq_len=SEQ_LEN, seed=5)
    norms = {name for name, _ in model.named_parameters() if "norm" in name}
    groups = [
        {"params": [p for n, p in model.named_parameters() if n not in norms], "weight_decay": 0.1},
        {"params": [p for n, p in model.named_parameters() if n in norms], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
    schedule, losses = Schedule(**SETTINGS), []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * schedule.factor(step, STEPS)
        total, count = torch.zeros(()), 0
        for index in range(step * ROWS, (step + 1) * ROWS):
            row, start = rows.row(index), 0
            for length in row.lengths:
                ids = torch.from_numpy(row.ids[start : start + length])[None]
                labels = torch.from_numpy(row.labels[start : start + length])[None, 1:]
                logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
                total = total + torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), labels.flatten(), reduction="sum", ignore_index=-100
                )
                count += int((labels != -100).sum())
                start += length
        loss = total / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return model.state_dict(), losses


@pytest.mark.parametrize("store", ["store", "chat"])
def test_training_equals_a_plain_loop_over_single_documents(world, tmp_path, store):
    store = getattr(world, store)
    expected, losses = reference(world, store)
    ours, our_losses = trained(world, tmp_path, store=store, micro_batch_size=4)

    assert our_losses == pytest.approx(losses, abs=1e-5)
    for name in expected:
        torch.testing.assert_close(ours[name], expected[name], atol=2e-5, rtol=0, msg=name)
