"""How does a Hugging Face model generate and score? In batches, with a key-value cache.

Axes: B prompts, T tokens, V vocabulary.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from transformers import DynamicCache

from hanlin.core.extras import require
from hanlin.inference.answer import Answer, answer_limit
from hanlin.inference.engine import Generation, Sampling, ScoreRequest
from hanlin.inference.prefix import Score, Work, score_requests
from hanlin.inference.sampling import choose, generators
from hanlin.models.load import best_device, load_pair, model_folder, stored_dtype
from hanlin.models.manifest import read_manifest
from hanlin.tokenization.load import Tokenizer

Prompt = Sequence[int]


class TransformersEngine:
    """A causal language model in PyTorch; on the GPU where there is one.

    Args:
        path: a model folder or a hub id.
        dtype: type of the weights; "int8" quantizes them while they are read (LLM.int8(), Dettmers
            et al. 2022, by bitsandbytes).
        batch_size: prompts that are generated at once.
    """

    def __init__(self, path: str, *, dtype: str = "float32", batch_size: int = 64) -> None:
        folder = model_folder(path)
        if dtype == "int8":
            model, self._tokenizer = load_pair(
                folder, dtype=stored_dtype(folder), quantization=_int8(), device=best_device()
            )
            self._model = model
        else:
            model, self._tokenizer = load_pair(folder, dtype=dtype)
            self._model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        self._manifest = read_manifest(folder)
        self._batch_size = batch_size
        self._eos_ids = _eos_ids(model, self._tokenizer)
        self.work = Work()

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer whose ids it takes and gives."""
        return self._tokenizer

    @property
    def manifest(self) -> dict[str, Any]:
        """Return the model's hanlin.json; empty where there is none."""
        return self._manifest

    @property
    def max_length(self) -> int:
        """Return how many positions the model has."""
        return int(self._model.config.max_position_embeddings)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt; no answer depends on the other prompts."""
        answers = [self._open(prompt, sampling) for prompt in prompts]
        streams = generators(sampling, len(prompts))
        by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        for start in range(0, len(prompts), self._batch_size):
            batch = by_length[start : start + self._batch_size]
            steps = self._run(
                [prompts[i] for i in batch], [answers[i] for i in batch], sampling=sampling,
                streams=[streams[i] for i in batch],
            )  # fmt: skip
            for _ in steps:
                pass
        return [answer.generation() for answer in answers]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """Yield the text of `generate([prompt])[0]` as it comes, in whole characters."""
        answer = self._open(prompt, sampling)
        for _ in self._run([prompt], [answer], sampling=sampling, streams=generators(sampling, 1)):
            if text := answer.take():
                yield text

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats."""
        return [score.log_likelihood for score in self.judge(requests)]

    def judge(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Return what `score` does, and whether each continuation is the greedy one."""
        return score_requests(self._model, requests, max_length=self.max_length, work=self.work)

    def _open(self, prompt: Prompt, sampling: Sampling) -> Answer:
        limit = answer_limit(prompt, sampling, max_length=self.max_length)
        eos_ids = self._eos_ids.union(sampling.stop_ids)
        return Answer(self._tokenizer, stop=sampling.stop, eos_ids=eos_ids, limit=limit)

    def _run(
        self,
        prompts: Sequence[Prompt],
        answers: list[Answer],
        *,
        sampling: Sampling,
        streams: list[torch.Generator],
    ) -> Iterator[None]:
        """Give every answer its next token, until all are over; yield after each round."""
        cache = DynamicCache(config=self._model.config)
        ids_BT, mask_BT = self._pad_left(prompts)
        logits_BV = self._next_logits(ids_BT, mask_BT, cache)
        while True:
            tokens = choose(logits_BV, sampling, streams)
            for answer, token in zip(answers, tokens, strict=True):
                answer.push(token)
            yield
            going = [i for i, answer in enumerate(answers) if answer.stopped_by is None]
            if not going:
                return
            if len(going) < len(answers):
                keep_B = torch.tensor(going, device=mask_BT.device)
                with torch.inference_mode():
                    cache.batch_select_indices(keep_B)
                mask_BT = mask_BT[keep_B]
                answers, streams = [answers[i] for i in going], [streams[i] for i in going]
            ids_BT = torch.tensor([[tokens[i]] for i in going], device=mask_BT.device)
            mask_BT = torch.cat([mask_BT, torch.ones_like(ids_BT)], dim=1)
            logits_BV = self._next_logits(ids_BT, mask_BT, cache)

    def _pad_left(self, prompts: Sequence[Prompt]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and mask [B, T]; the last tokens stand in one column."""
        longest = max(map(len, prompts))
        pad = self._tokenizer.pad_id
        ids = [[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _next_logits(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Return the logits [B, V] after the last of the new tokens."""
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
        with torch.inference_mode():
            output = self._model(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                position_ids=positions_BT,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return output.logits[:, -1].float()


def _int8() -> Any:  # noqa: ANN401 - a transformers.BitsAndBytesConfig
    if importlib.util.find_spec("bitsandbytes") is None:
        require("bitsandbytes", extra="quantize", purpose="loading a model in int8")
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    return transformers.BitsAndBytesConfig(load_in_8bit=True)


def _eos_ids(model: Any, tokenizer: Tokenizer) -> frozenset[int]:  # noqa: ANN401
    """Return every token that ends an answer, those of generation_config.json included."""
    named = model.generation_config.eos_token_id
    more = named if isinstance(named, list) else [named]
    return frozenset([tokenizer.eos_id, *(i for i in more if i is not None)])
