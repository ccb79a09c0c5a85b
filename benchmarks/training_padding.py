"""How long does an epoch take where every conversation is a padded row? Plain transformers.

    python benchmarks/training_padding.py BASE STORE OUT

The other side of `--part padded` of benchmarks/training.py: the conversations of our own token
store, the same ids and labels, four rows a batch filled up to the longest of them, six batches a
step, which is about what a packed step holds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from training_peers import PADDED_BATCHES, RATE, ROWS_A_STEP, SEQ_LEN, THREADS, figures, run, told

from hanlin.data.store import TokenStore

Conversation = tuple[Any, Any]  # ids and mask, as tensors


def conversations(store: TokenStore) -> Iterator[Conversation]:
    """Yield ids and mask of each conversation of a store that trains something."""
    import torch

    from hanlin.data.pack import IGNORED, PackedRows

    rows = PackedRows(store, seq_len=SEQ_LEN, seed=1)
    for index in range(rows.rows_per_epoch):
        row, start = rows.row(index), 0
        for length in row.lengths:
            ids = torch.from_numpy(row.ids[start : start + length])
            labels = torch.from_numpy(row.labels[start : start + length])
            start += length
            if bool((labels != IGNORED).any()):
                yield ids, labels != IGNORED


def padded_batch(rows: list[Conversation]) -> dict[str, Any]:
    """Return a batch as every tutorial makes it: padded on the right, with a mask."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    ids = pad_sequence([ids for ids, _ in rows], batch_first=True)
    seen = pad_sequence([torch.ones_like(ids) for ids, _ in rows], batch_first=True)
    mask = pad_sequence([mask for _, mask in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": seen, "labels": ids.where(mask, -100)}


def losses(base: Path, store: Path) -> dict[str, float]:
    """Return the untrained model's loss of a trained token, padded and packed."""
    import torch

    from hanlin.data.collate import collator_for
    from hanlin.data.pack import PackedRows
    from hanlin.models.load import load_pair

    model, tokenizer = load_pair(base)
    opened = TokenStore.open(store)
    rows = PackedRows(opened, seq_len=SEQ_LEN, seed=1)
    collate = collator_for(model, pad_id=tokenizer.pad_id, seq_len=SEQ_LEN)
    alone = list(conversations(opened))
    packed = [rows.row(index) for index in range(rows.rows_per_epoch)]
    batches = {
        "padded": [padded_batch(part) for part in _portions(alone)],
        "packed": [collate(part) for part in _portions(packed)],
    }
    found = {}
    for name, own in batches.items():
        total, count = 0.0, 0
        for batch in own:
            with torch.no_grad():
                loss = model(**batch, use_cache=False).loss
            trained = int((batch["labels"][:, 1:] != -100).sum())
            total, count = total + float(loss) * trained, count + trained
        found[name] = total / count
        found[f"{name}_trained_tokens"] = count
    return found


def padded(world: dict[str, Path], store: Path, out: Path) -> dict[str, Any]:
    """Train an epoch in a process of its own; return its figures."""
    seconds, peak, printed = run([sys.executable, __file__, world["base"], store, out])
    found = told(printed)
    return figures(seconds, peak, wall=found["wall"], cpu=found["cpu"])


def main(base: str, store: str, out: str) -> None:
    """Train the model on the conversations of a store with the plain Trainer."""
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    torch.set_num_threads(THREADS)

    class Clock(TrainerCallback):
        """Keeps when steps ended."""

        wall: list[float] = []
        cpu: list[float] = []

        def on_train_begin(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
            self.wall.append(time.perf_counter())
            self.cpu.append(time.process_time())

        on_step_end = on_train_begin

    arguments = TrainingArguments(
        output_dir=out, per_device_train_batch_size=ROWS_A_STEP, num_train_epochs=1,
        gradient_accumulation_steps=PADDED_BATCHES, learning_rate=RATE, weight_decay=0.0,
        lr_scheduler_type="constant", adam_beta2=0.95, optim="adamw_torch_fused", seed=1,
        use_cpu=True, report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True,
        remove_unused_columns=False,
    )  # fmt: skip
    rows = list(conversations(TokenStore.open(Path(store))))
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), args=arguments,
        train_dataset=rows, data_collator=padded_batch, callbacks=[Clock()],
    )  # fmt: skip
    trainer.train()
    trainer.save_model(out)
    clocks = {"wall": Clock.wall, "cpu": Clock.cpu}
    found = {name: [b - a for a, b in pairwise(own)] for name, own in clocks.items()}
    sys.stdout.write(f"FIGURES {json.dumps(found)}\n")


def _portions(rows: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), ROWS_A_STEP):
        yield rows[start : start + ROWS_A_STEP]


if __name__ == "__main__":
    main(*sys.argv[1:])
