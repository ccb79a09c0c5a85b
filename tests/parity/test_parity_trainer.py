"""Packed training against a plain Trainer of transformers on the same real rows, padded."""

import json
from types import SimpleNamespace

import pytest
import torch
import transformers

from hanlin.core.events import EventLog, read_events
from hanlin.core.stage import StageContext
from hanlin.data import prepare_chat
from hanlin.data.pack import PackedRows
from hanlin.data.store import TokenStore
from hanlin.models.load import load_pair
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, new_llama
from hanlin.tokenization.load import load
from hanlin.tokenization.train import train_sentencepiece
from hanlin.training.probes import Probed
from hanlin.training.schedule import Schedule
from hanlin.training.trainer import Job, train
from training_world import run_stage, write_rows

STEPS, ROWS, SEQ_LEN, EVERY, RATE = 12, 4, 192, 3, 2e-3

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def world(real_data, tmp_path_factory):
    """A small new model and stores of real Chinese and English rows, trained and held out."""
    folder, found = tmp_path_factory.mktemp("real"), []
    for language in ("zh", "en"):
        file = real_data / "instructions" / f"alpaca_{language}_0-3252.json"
        found += [row for row in json.loads(file.read_text()) if len(row["output"]) < 160][:120]
    texts = [f"{row['instruction']}\n{row['output']}" for row in found]
    train_sentencepiece(texts, vocab_size=1200, out=folder / "tokenizer", seed=1)
    tokenizer = load(folder / "tokenizer")
    shape = Architecture(hidden_size=48, layers=2, heads=2, max_length=SEQ_LEN)
    save_model(new_llama(shape, tokenizer.vocab_size, seed=1), tokenizer, folder / "model")
    for name, rows in (("train", found[::2]), ("heldout", found[1::12])):
        write_rows(folder / f"{name}.jsonl", rows)
        sources = [{"path": str(folder / f"{name}.jsonl"), "name": name}]
        values = {"sources": sources, "tokenizer": str(folder / "model"), "seq_len": SEQ_LEN}
        run_stage(prepare_chat, {**values, "max_bad_rows": 1.0}, folder / name)
    return folder


def rows_of(world, name):
    return PackedRows(TokenStore.open(world / name / "store"), seq_len=SEQ_LEN, seed=3)


def documents(row):
    """Yield ids and labels of each conversation of a packed row."""
    start = 0
    for length in row.lengths:
        part = slice(start, start + length)
        yield torch.from_numpy(row.ids[part]), torch.from_numpy(row.labels[part])
        start += length


def padded(rows):
    """Return the conversations of packed rows as a batch with one in each row, padded."""
    pairs = [pair for row in rows for pair in documents(row)]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad([own for own, _ in pairs], batch_first=True)
    mask = pad([torch.ones_like(own) for own, _ in pairs], batch_first=True)
    labels = pad([own for _, own in pairs], batch_first=True, padding_value=-100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def validation_loss(model, held):
    """Return the mean loss of a trained token of the held-out rows, each conversation alone."""
    total, count, was_training = 0.0, 0, model.training
    model.eval()
    with torch.no_grad():
        for index in range(held.rows_per_epoch):
            for ids, labels in documents(held.row(index)):
                logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1]
                target = labels[1:]
                total += float(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
                count += int((target != -100).sum())
    model.train(was_training)
    return total / count


def ours(world, out):
    """Train packed; return losses of the steps, and of the held-out rows."""
    model, tokenizer = load_pair(world / "model")
    held = rows_of(world, "heldout")
    schedule = Schedule(
        steps=STEPS, seq_len=SEQ_LEN, micro_batch_size=2, gradient_accumulation_steps=ROWS // 2,
        learning_rate=RATE, scheduler="constant", warmup_steps=0, weight_decay=0.01, log_every=1,
        probe_every=EVERY, threads=1,
    )  # fmt: skip

    def probe(model):
        return Probed({"heldout": validation_loss(model, held)})

    log = EventLog(out / "events.jsonl")
    job = Job(model, rows_of(world, "train"), tokenizer.pad_id, schedule, probe=probe)
    train(job, StageContext("t", out, 0, log))
    events = list(read_events(log.path))
    losses = [e["loss"] for e in events if e["event"] == "metric"]
    return losses, [e["bits_per_byte"] for e in events if e["event"] == "probe"]


class Steps(torch.utils.data.Dataset):
    """The packed rows, in order."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return STEPS * ROWS

    def __getitem__(self, index):
        return self.rows.row(index)


class Curve(transformers.TrainerCallback):
    """Measures the held-out loss along the way."""

    def __init__(self, held):
        self.held, self.losses, self.curve = held, [], []

    def on_train_begin(self, args, state, control, model, **_):
        self.curve.append(validation_loss(model, self.held))

    def on_step_end(self, args, state, control, model, **_):
        if state.global_step % EVERY == 0:
            self.curve.append(validation_loss(model, self.held))

    def on_log(self, args, state, control, logs, **_):
        if "loss" in logs:
            self.losses.append(logs["loss"])


def plain(world, out):
    """Train with nothing but transformers, one conversation in each padded row."""
    model, _ = load_pair(world / "model")
    curve = Curve(rows_of(world, "heldout"))
    arguments = transformers.TrainingArguments(
        output_dir=str(out), max_steps=STEPS, per_device_train_batch_size=ROWS,
        learning_rate=RATE, lr_scheduler_type="constant", weight_decay=0.01, adam_beta2=0.95,
        logging_steps=1, report_to="none", use_cpu=True, save_strategy="no", disable_tqdm=True,
        remove_unused_columns=False, train_sampling_strategy="sequential", max_grad_norm=1.0,
    )  # fmt: skip
    transformers.Trainer(
        model=model, args=arguments, train_dataset=Steps(rows_of(world, "train")),
        data_collator=padded, callbacks=[curve],
    ).train()  # fmt: skip
    return curve


def test_the_validation_curve_is_that_of_a_plain_padded_trainer(world, tmp_path):
    losses, curve = ours(world, tmp_path / "ours")
    found = SimpleNamespace(losses=losses, curve=curve)
    expected = plain(world, tmp_path / "plain")
    assert len(found.curve) == len(expected.curve) == STEPS // EVERY + 1
    assert expected.curve[-1] < expected.curve[0] - 0.3  # something was learned
    assert found.curve == pytest.approx(expected.curve, abs=1e-4)
    assert found.losses == pytest.approx(expected.losses, abs=1e-4)  # packed, the same loss a token
