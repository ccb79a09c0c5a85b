"""Does a model end its answers? Asked when it was tuned, on conversations that it was tuned on."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hanlin.core.stage import StageContext
from hanlin.data.store import TokenStore
from hanlin.prompts.encode import stop_ids
from hanlin.prompts.formats import get_format

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

log = logging.getLogger(__name__)
LOOKED_AT = 1000  # conversations; of these the ones with the shortest answers are asked again
ROOM = 16  # tokens that an answer may have beyond twice those of the trained one


@dataclass(frozen=True)
class Asked:
    """A trained conversation, up to an answer.

    Attributes:
        prompt: ids in front of the answer.
        answer: ids of the answer that was trained, its end token included.
    """

    prompt: list[int]
    answer: list[int]


def check_answers(
    model: Any,  # noqa: ANN401 - a causal language model
    tokenizer: Tokenizer,
    *,
    store: TokenStore,
    count: int,
    context: StageContext,
) -> None:
    """Let a tuned model answer a few trained questions; warn where answers do not end.

    Args:
        model: the tuned model, without an adapter's wrapper.
        tokenizer: its tokenizer.
        store: the conversations it was tuned on.
        count: how many; 0 asks nothing.
        context: for the event `answers`.
    """
    ends = stop_ids(get_format(store.header["prompt"]["format"]), tokenizer)
    asked = sorted(_conversations(store), key=lambda one: len(one.answer))[:count]
    if not asked:
        return
    found = [continued(model, one.prompt, limit=_limit(one), ends=ends) for one in asked]
    ended = sum(bool(ids) and ids[-1] in ends for ids in found)
    answers = [
        {"prompt": tokenizer.decode(one.prompt), "answer": tokenizer.decode(ids),
         "trained": tokenizer.decode(one.answer), "is_ended": bool(ids) and ids[-1] in ends}
        for one, ids in zip(asked, found, strict=True)
    ]  # fmt: skip
    context.events.emit(
        "answers", stage=context.name, ended=ended, asked=len(asked), answers=answers
    )
    if ended < len(asked):
        limits = sorted(_limit(one) for one in asked)
        log.warning(
            "%d of %d answers to trained questions end with %s within %d to %d tokens: a model "
            "that was tuned too little, or whose end token was not learned, goes on without end; "
            "train longer, or look at the `first_rows` and `answers` in events.jsonl",
            ended, len(asked), " or ".join(tokenizer.piece_of(i) for i in ends),
            limits[0], limits[-1],
        )  # fmt: skip


def continued(
    model: Any,  # noqa: ANN401 - a causal language model
    prompt: Sequence[int],
    *,
    limit: int,
    ends: Collection[int] = (),
) -> list[int]:
    """Return the most likely next tokens, up to the first of `ends`, that one included.

    Random numbers are not touched, and the model is left in the mode that it was in.
    """
    import torch
    from transformers import GenerationConfig

    settings = GenerationConfig(
        max_new_tokens=limit, do_sample=False, use_cache=True, eos_token_id=list(ends) or None,
        pad_token_id=0,
    )  # fmt: skip
    ids = torch.tensor([list(prompt)], device=model.device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            found = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings,
                synced_gpus=False,  # under ZeRO-3 it would wait for processes that do not generate
            )  # fmt: skip
    finally:
        model.train(was_training)
    answer: list[int] = found[0, len(prompt) :].tolist()
    return answer


def _limit(one: Asked) -> int:
    return 2 * len(one.answer) + ROOM


def _conversations(store: TokenStore) -> Iterator[Asked]:
    """Yield the first conversations of a store up to their first answer; texts are passed over."""
    left = LOOKED_AT
    for source, description in enumerate(store.sources):
        if description.trained_tokens == description.tokens:
            continue  # texts that are replayed: every token of them is trained
        offsets = store.offsets(source)[: left + 1].astype(np.int64).tolist()
        for start, end in pairwise(offsets):
            ids, mask = store.ids(source, start, end), store.mask(source, start, end)
            (trained,) = mask.nonzero()
            if len(trained) and trained[0] > 0:
                first = int(trained[0])
                (gap,) = (~mask[first:]).nonzero()
                last = first + int(gap[0]) if len(gap) else len(ids)
                yield Asked(ids[:first].tolist(), ids[first:last].tolist())
        left -= len(offsets) - 1
        if left <= 0:
            return
