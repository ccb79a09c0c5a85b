"""How well does the model that is being trained predict held-out text, in each language?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from hanlin.core.config import InputPath, StrictModel
from hanlin.core.errors import InputError

if TYPE_CHECKING:
    import torch

    from hanlin.tokenization.load import Tokenizer

# B windows, T tokens of a window, V entries of the vocabulary
TOKENS_PER_FORWARD = 2048  # bounds the memory of the logits, not the result
UNKNOWN_LANGUAGE = "text"  # name of the curve of texts that do not say their language


class ProbeTexts(StrictModel):
    """Texts that are never trained on."""

    texts: InputPath
    """A corpus file, or a folder of them."""
    documents: int = Field(default=32, ge=1)
    """The first so many texts of each language are measured."""


def read_probe_texts(config: ProbeTexts) -> dict[str, list[str]]:
    """Return the texts by language, languages in alphabetical order.

    Raises:
        InputError: nothing is there, or it holds no text.
    """
    from hanlin.data.readers import read_documents

    texts: dict[str, list[str]] = {}
    for document in read_documents(config.texts):
        held = texts.setdefault(document.language or UNKNOWN_LANGUAGE, [])
        if document.text and len(held) < config.documents:
            held.append(document.text)
    if not any(texts.values()):
        raise InputError(
            f"{Path(config.texts)} holds no text to probe",
            why="every text is empty",
            fix="give held-out texts, or leave the key `probe` out",
        )
    return {language: texts[language] for language in sorted(texts) if texts[language]}


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
    windows = [window for text in texts for window in _windows(text, tokenizer, seq_len)]
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


def _windows(text: str, tokenizer: Tokenizer, seq_len: int) -> Iterator[list[int]]:
    """Yield windows that overlap by one token, so that each token of the text is predicted once."""
    start = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    ids = [start, *tokenizer.encode(text, at_start=True)]
    for first in range(0, len(ids) - 1, seq_len - 1):
        yield ids[first : first + seq_len]
