"""How well does a model predict texts, in bits for one byte of them?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.models.load import best_device, load_model, stored_dtype

if TYPE_CHECKING:
    import torch

    from hanlin.tokenization.load import Tokenizer

# B windows, T tokens of a window, V entries of the vocabulary
TOKENS_PER_FORWARD = 2048  # bounds the memory of the logits, not the result


def measure(
    model: torch.nn.Module,
    *,
    texts: Mapping[str, Sequence[str]],
    tokenizer: Tokenizer,
    seq_len: int,
) -> dict[str, float]:
    """Return bits per byte for each language; leave the model in the mode it was in.

    Random numbers are not touched, so a probe cannot change the training.

    Args:
        model: a causal language model.
        texts: language -> texts.
        tokenizer: the model's tokenizer.
        seq_len: longer texts are cut into windows of so many tokens.
    """
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return {
                language: bits_per_byte(
                    sum(_losses(model, own, tokenizer=tokenizer, seq_len=seq_len)),
                    sum(len(text.encode()) for text in own),
                )
                for language, own in texts.items()
            }
    finally:
        model.train(was_training)


def measure_folder(
    folder: Path, *, texts: Sequence[str], tokenizer: Tokenizer, seq_len: int
) -> float:
    """Return the bits per byte of a model folder, quantized or not; on a GPU if there is one.

    Args:
        folder: of the model. On the CPU it computes in float32, on a GPU in the type of its config.
        texts: what is predicted.
        tokenizer: the model's tokenizer.
        seq_len: as for `measure`; the model's longest sequence is taken if that is shorter.
    """
    device = best_device()
    model = load_model(
        folder, dtype="float32" if device == "cpu" else stored_dtype(folder), device=device
    )
    length = min(seq_len, model.config.max_position_embeddings)
    return measure(model, texts={"all": texts}, tokenizer=tokenizer, seq_len=length)["all"]


def bits_per_byte(nll: float, num_bytes: int) -> float:
    """Return a loss that can be compared across tokenizers.

    Args:
        nll: negative log-likelihood summed over the text, in nats.
        num_bytes: length of the same text in UTF-8 bytes.

    Raises:
        ValueError: num_bytes is not positive.
    """
    if num_bytes <= 0:
        raise ValueError(f"num_bytes is {num_bytes}")
    return nll / math.log(2) / num_bytes


def _losses(
    model: torch.nn.Module, texts: Sequence[str], *, tokenizer: Tokenizer, seq_len: int
) -> Iterator[float]:
    """Yield the summed loss of batches of windows, in nats."""
    import torch

    device = next(model.parameters()).device
    windows = [
        window for text in texts for window in text_windows(text, tokenizer, seq_len=seq_len)
    ]
    windows.sort(key=len)  # equal lengths side by side: less padding
    size = max(1, TOKENS_PER_FORWARD // seq_len)
    for first in range(0, len(windows), size):
        batch = windows[first : first + size]
        longest = len(batch[-1])
        ids_BT = torch.full((len(batch), longest), tokenizer.pad_id)
        targets_BT = torch.full((len(batch), longest - 1), -100)
        for b, window in enumerate(batch):
            ids_BT[b, : len(window)] = torch.tensor(window)
            targets_BT[b, : len(window) - 1] = torch.tensor(window[1:])
        # Padding stands on the right, behind everything that causal attention sees.
        logits_BTV = model(input_ids=ids_BT.to(device), use_cache=False).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(
            logits_BTV.flatten(0, 1), targets_BT.flatten().to(device), reduction="sum"
        )
        yield losses.double().item()


def text_windows(text: str, tokenizer: Tokenizer, *, seq_len: int) -> Iterator[list[int]]:
    """Yield windows that overlap by one token, so that each token of the text is predicted once."""
    start = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    ids = [start, *tokenizer.encode(text, at_start=True)]
    for first in range(0, len(ids) - 1, seq_len - 1):
        yield ids[first : first + seq_len]
