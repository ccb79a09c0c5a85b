"""Is there anything to learn in these rows, and can this model learn it? Asked before step one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hanlin.core.errors import ConfigError, InputError
from hanlin.data.pack import IGNORED, PackedRows, Row
from hanlin.data.store import TokenStore
from hanlin.prompts.encode import stop_ids
from hanlin.prompts.formats import get_format

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hanlin.tokenization.load import Tokenizer

CHECKED_ROWS = 256  # the first of the run; enough to see a wrong mask, cheap for any store


def check_data(
    rows: PackedRows, *, model: PreTrainedModel, tokenizer: Tokenizer, where: str
) -> None:
    """Refuse data that the model cannot be trained on.

    Args:
        rows: the packed rows.
        model: the model.
        tokenizer: its tokenizer.
        where: the model's path, for messages.

    Raises:
        InputError: another tokenizer made the ids, or nothing is to be learned.
        ConfigError: rows are longer than the model allows.
    """
    rows.store.check_tokenizer(tokenizer.sha256, where=where)
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and rows.seq_len > longest:
        raise ConfigError(
            f"schedule.seq_len is {rows.seq_len} but {where} takes at most {longest} tokens",
            why="positions behind its max_position_embeddings were never trained",
            fix=f"set schedule.seq_len to {longest} or less",
        )
    check_rows(rows, rows_of_model=model.get_input_embeddings().weight.shape[0], eos=tokenizer)


def check_rows(rows: PackedRows, *, rows_of_model: int, eos: Tokenizer) -> None:
    """Refuse rows without trained tokens, ids without a row, and answers that never end.

    Raises:
        InputError: one of these.
    """
    trained, has_end, highest = [], False, 0
    ends = _end_ids(rows.store, eos)
    for row in _first_rows(rows):
        trained.append(int((row.labels != IGNORED).sum()))
        has_end = has_end or bool(np.isin(row.labels, ends).any())
        highest = max(highest, int(row.ids.max()))
    if highest >= rows_of_model:
        raise InputError(
            f"the token store {rows.store.path} holds the id {highest} but the model has "
            f"{rows_of_model} embedding rows",
            why="the model was saved before its tokenizer was extended",
            fix="hanlin model grow MODEL --tokenizer TOKENIZER --out DIR",
        )
    empty = [number for number, count in enumerate(trained) if not count]
    if len(empty) == len(trained) or (rows.store.has_mask and empty):
        raise _nothing_to_learn(rows.store, empty, len(trained))
    if rows.store.has_mask and not has_end:
        raise InputError(
            f"no answer in the first {len(trained)} rows of {rows.store.path} ends with the end "
            f"token {' or '.join(repr(eos.piece_of(i)) for i in ends)}",
            why="the model would never learn to stop",
            fix="prepare the conversations again with a prompt format that trains the end token",
        )


def _end_ids(store: TokenStore, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that end an answer: those of the prompt format, where there is one."""
    prompt = store.header.get("prompt")
    if not prompt:
        return [tokenizer.eos_id]
    return list(stop_ids(get_format(prompt["format"]), tokenizer))


def _first_rows(rows: PackedRows) -> Iterator[Row]:
    for index in range(min(CHECKED_ROWS, rows.rows_per_epoch)):
        yield rows.row(index)


def _nothing_to_learn(store: TokenStore, empty: list[int], checked: int) -> InputError:
    numbers = ", ".join(map(str, empty[:5]))
    return InputError(
        f"{len(empty)} of the first {checked} rows of {store.path} have no token to learn "
        f"(rows {numbers})",
        why="their loss mask is empty: no assistant turn, or documents of a single token",
        fix="look at the data with hanlin data inspect, and prepare it again",
    )
