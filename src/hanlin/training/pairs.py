"""How do preferences become token ids, in the prompt format that everything else uses?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hanlin.core import ranks
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import write_atomic
from hanlin.core.records import Conversation, Message
from hanlin.core.stage import StageContext, derive_seed
from hanlin.data.pack import IGNORED, Row
from hanlin.data.readers import BadRows
from hanlin.data.readers.preferences import Preference, read_preferences
from hanlin.prompts.encode import encode_conversation, encode_prompt
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import check_probe, prompt_record
from hanlin.prompts.render import unsupported
from hanlin.tokenization.load import Tokenizer
from hanlin.training.tuned import Tuned

if TYPE_CHECKING:
    from hanlin.training.dpo import Config

FILE = "pairs.jsonl"


@dataclass(frozen=True)
class Pair:
    """Token ids of a question and of two answers, each with its end token."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]


@dataclass(frozen=True)
class PairRows:
    """Pairs by their number in the whole run, in another order in each epoch.

    Attributes:
        pairs: all of them.
        seed: decides the orders.
    """

    pairs: Sequence[Pair]
    seed: int

    @property
    def rows_per_epoch(self) -> int:
        """Return how many pairs an epoch has."""
        return len(self.pairs)

    def number(self, index: int) -> int:
        """Return which pair row `index` of the run is."""
        epoch, place = divmod(index, len(self.pairs))
        order = np.random.default_rng(derive_seed(self.seed, f"epoch/{epoch}"))
        return int(order.permutation(len(self.pairs))[place])

    def numbers(self, start: int, stop: int) -> list[int]:
        """Return what `number` gives for rows [start, stop)."""
        size, found = len(self.pairs), list[int]()
        for epoch in range(start // size, -(-stop // size)):
            order = np.random.default_rng(derive_seed(self.seed, f"epoch/{epoch}"))
            first, last = max(start - epoch * size, 0), min(stop - epoch * size, size)
            found += order.permutation(size)[first:last].tolist()
        return found

    def row(self, index: int) -> Row:
        """Return both conversations of a pair as one row, its answers labelled."""
        pair = self.pairs[self.number(index)]
        ids, labels, lengths = list[int](), list[int](), list[int]()
        for answer in (pair.chosen_ids, pair.rejected_ids):
            ids += pair.prompt_ids + answer
            labels += [IGNORED] * len(pair.prompt_ids) + answer
            lengths.append(len(pair.prompt_ids) + len(answer))
        return Row(np.array(ids), np.array(labels), tuple(lengths))


def open_pairs(
    config: Config, tuned: Tuned, context: StageContext
) -> tuple[PairRows, Mapping[str, Any]]:
    """Encode the preferences once, in the first process; return them and the prompt's record.

    Raises:
        InputError: rows cannot be used, or nothing fits into seq_len.
        ConfigError: no prompt format is named, or the model takes shorter rows only.
    """
    format = _format(config, tuned)
    longest = getattr(tuned.model.config, "max_position_embeddings", None)
    if longest is not None and config.schedule.seq_len > longest:
        raise ConfigError(
            f"schedule.seq_len is {config.schedule.seq_len} but {config.model} takes at most "
            f"{longest} tokens",
            fix=f"set schedule.seq_len to {longest} or less",
        )
    file = context.out / FILE
    if ranks.is_first():
        _write(config, tuned.tokenizer, format, file, context)
    ranks.barrier()
    lines = file.read_text(encoding="utf-8").splitlines()
    pairs = [Pair(**json.loads(line)) for line in lines]
    rows = PairRows(pairs, context.stream("order"))
    if ranks.is_first():
        _show(rows, tuned.tokenizer, context)
    return rows, prompt_record(format, tuned.tokenizer)


def encode_pair(preference: Preference, format: PromptFormat, tokenizer: Tokenizer) -> Pair:
    """Return the ids of a preference; both answers begin behind the same prompt.

    Raises:
        InputError: the tokenizer lacks a marker of the format.
    """
    prompt = encode_prompt(preference.messages, format=format, tokenizer=tokenizer)
    answers = []
    for text in (preference.chosen, preference.rejected):
        messages = (*preference.messages, Message("assistant", text))
        ids = encode_conversation(
            Conversation(messages), format=format, tokenizer=tokenizer, loss_on="last"
        ).ids
        assert ids[: len(prompt)] == prompt  # what `prompts.encode` promises
        answers.append(ids[len(prompt) :])
    return Pair(prompt, *answers)


def _format(config: Config, tuned: Tuned) -> PromptFormat:
    known = check_probe(tuned.manifest, tuned.tokenizer, where=str(config.model))
    if config.prompt is not None:
        return get_format(config.prompt)
    if known is None:
        raise ConfigError(
            f"{config.model} does not say which prompt format it was tuned on",
            why="it has no hanlin.json with a prompt; another format would teach the pairs wrongly",
            fix="set prompt to the format's name, for example prompt: chatml",
        )
    return known


def _write(
    config: Config, tokenizer: Tokenizer, format: PromptFormat, file: Path, context: StageContext
) -> None:
    lines, too_long, bad = list[str](), 0, BadRows(config.max_bad_rows)
    for preference in _read(config, format, bad):
        pair = encode_pair(preference, format, tokenizer)
        longer = max(len(pair.chosen_ids), len(pair.rejected_ids))
        if len(pair.prompt_ids) + longer > config.schedule.seq_len:
            too_long += 1
        else:
            lines.append(json.dumps(vars(pair)) + "\n")
    if not lines:
        raise InputError(
            f"no preference fits into {config.schedule.seq_len} tokens: {too_long} are longer",
            why="an answer is never cut",
            fix="raise schedule.seq_len",
        )
    context.events.emit(
        "prepared", stage=context.name, pairs=len(lines), too_long=too_long, bad_rows=bad.bad
    )
    if too_long:
        context.note(
            f"  {too_long} of {too_long + len(lines)} pairs are longer than "
            f"{config.schedule.seq_len} tokens and are left out"
        )
    write_atomic(file, "".join(lines).encode())


def _read(config: Config, format: PromptFormat, bad: BadRows) -> Iterator[Preference]:
    for path in config.preferences:
        for one in read_preferences(path, bad=bad):
            if reason := unsupported(Conversation(one.messages), format):
                bad.add(one.source, one.line, reason)
                bad.good -= 1
            else:
                yield one
        bad.check(Path(path))


def _show(rows: PairRows, tokenizer: Tokenizer, context: StageContext) -> None:
    """Decode and count the first pair: both answers end with an end token, one begin token."""
    pair = rows.pairs[rows.number(0)]
    text = tokenizer.decode(pair.prompt_ids)
    better, worse = (tokenizer.decode(ids) for ids in (pair.chosen_ids, pair.rejected_ids))
    context.events.emit(
        "first_rows", stage=context.name, row=0, prompt=text, chosen=better, rejected=worse
    )
    short = [one.replace("\n", "⏎")[:120] for one in (text, better, worse)]
    context.note(f"  row 0: {short[0]} ⟦better: {short[1]}⟧ ⟦worse: {short[2]}⟧")
