"""How does a Hugging Face model generate and score? In batches, with a key-value cache."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import transformers

from hanlin.core.extras import require
from hanlin.inference.adapters import Adapters
from hanlin.inference.answer import Answer, answer_limit
from hanlin.inference.batch import RunningBatch
from hanlin.inference.beam import BeamDecoder
from hanlin.inference.constraint import Constraints
from hanlin.inference.decoder import Decoder, SingleDecoder
from hanlin.inference.engine import Generation, Sampling, ScoreRequest, StreamEvent, texts_of
from hanlin.inference.prefix import Score, Work, score_requests
from hanlin.inference.sampling import generator
from hanlin.models.load import best_device, load_pair, model_folder, stored_dtype
from hanlin.models.manifest import read_manifest
from hanlin.tokenization.load import Tokenizer

Prompt = Sequence[int]
QUANTIZED: dict[str, dict[str, Any]] = {
    "int8": {"load_in_8bit": True},
    "int4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
}


class TransformersEngine:
    """A causal language model in PyTorch; on the GPU where there is one.

    Args:
        path: a model folder or a hub id.
        dtype: type of the weights; "int8" and "int4" quantize them while they are read, by
            bitsandbytes: LLM.int8() (Dettmers et al. 2022) and NF4 (Dettmers et al. 2023).
        batch_size: sequences that are generated at once.
        adapters: name -> folder of LoRA adapters that may answer (`Sampling.adapter`).

    Attributes:
        num_slots: requests that it can answer at the same time.
    """

    def __init__(
        self,
        path: str,
        *,
        dtype: str = "float32",
        batch_size: int = 64,
        adapters: Mapping[str, str] | None = None,
    ) -> None:
        folder = model_folder(path)
        if dtype in QUANTIZED:
            model, self._tokenizer = load_pair(
                folder, dtype=stored_dtype(folder), quantization=_quantization(dtype),
                device=best_device(),
            )  # fmt: skip
            self._model = model
        else:
            model, self._tokenizer = load_pair(folder, dtype=dtype)
            self._model = model.to(best_device())
        self._manifest = read_manifest(folder)
        self.num_slots = self._batch_size = batch_size
        self._eos_ids = _eos_ids(model, self._tokenizer)
        folders = {name: Path(place).expanduser() for name, place in (adapters or {}).items()}
        self._adapters = Adapters(model, folders, base=folder, tokenizer=self._tokenizer)
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
        decoders = [self.decoder(prompt, sampling, index) for index, prompt in enumerate(prompts)]
        found: list[Generation | None] = [None] * len(prompts)
        by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        size = max(1, self._batch_size // sampling.num_beams)
        for start in range(0, len(prompts), size):
            places = by_length[start : start + size]
            batch = self.open_batch(sampling.adapter)
            batch.join([decoders[place] for place in places])
            while batch.decoders:
                batch.step()
            for place in places:
                found[place] = _outcome(decoders[place]).generation
        return [generation for generation in found if generation is not None]

    def events(self, prompt: Prompt, sampling: Sampling) -> Generator[StreamEvent]:
        """Yield what `generate([prompt])[0]` is made of; closing it frees everything."""
        decoder, batch = self.decoder(prompt, sampling), self.open_batch(sampling.adapter)
        batch.join([decoder])
        yield _outcome(decoder)
        while not decoder.is_over:
            batch.step()
            yield _outcome(decoder)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """Yield the text of `generate([prompt])[0]` as it comes, in whole characters."""
        return texts_of(self.events(prompt, sampling))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has, at the start of a document."""
        return len(self._tokenizer.encode(text, at_start=True))

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats."""
        return [score.log_likelihood for score in self.judge(requests)]

    def judge(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Return what `score` does, and whether each continuation is the greedy one."""
        with self._adapters.using(None):
            return score_requests(self._model, requests, max_length=self.max_length, work=self.work)

    def decoder(self, prompt: Prompt, sampling: Sampling, index: int = 0) -> Decoder:
        """Return a request that can join a batch.

        Args:
            prompt: its token ids.
            sampling: how its answer is chosen.
            index: its place among prompts that are handed in together.

        Raises:
            InputError: the context cannot hold the prompt.
            ConfigError: the grammar cannot be used, or there is no such adapter.
        """
        self._adapters.check(sampling.adapter)
        limit = answer_limit(prompt, sampling, max_length=self.max_length)
        answer = Answer(
            self._tokenizer,
            stop=() if sampling.grammar else sampling.stop,
            eos_ids=self._eos_ids.union(sampling.stop_ids),
            limit=limit,
            constraint=self._constraints.open(sampling.grammar) if sampling.grammar else None,
        )
        kind = BeamDecoder if sampling.num_beams > 1 else SingleDecoder
        return kind(prompt, sampling, answer=answer, stream=generator(sampling, index))

    def open_batch(self, adapter: str | None = None) -> RunningBatch:
        """Return an empty batch, for requests that one adapter answers, joining and leaving."""

        def forward(**inputs: Any) -> Any:  # noqa: ANN401 - tensors, and transformers' output
            with self._adapters.using(adapter):
                return self._model(**inputs)

        return RunningBatch(
            forward,
            device=self._model.device,
            vocab_size=self._tokenizer.vocab_size,
            pad_id=self._tokenizer.pad_id,
        )

    @cached_property
    def _constraints(self) -> Constraints:
        return Constraints(self._tokenizer)


def _outcome(decoder: Decoder) -> StreamEvent:
    """Return what is new of a request; raise what went wrong."""
    if decoder.error is not None:
        raise decoder.error
    return decoder.event()


def _quantization(dtype: str) -> Any:  # noqa: ANN401 - a transformers.BitsAndBytesConfig
    if importlib.util.find_spec("bitsandbytes") is None:
        require("bitsandbytes", extra="quantize", purpose=f"loading a model in {dtype}")
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    return transformers.BitsAndBytesConfig(**QUANTIZED[dtype])


def _eos_ids(model: Any, tokenizer: Tokenizer) -> frozenset[int]:  # noqa: ANN401
    """Return every token that ends an answer, those of generation_config.json included."""
    named = model.generation_config.eos_token_id
    more = named if isinstance(named, list) else [named]
    return frozenset([tokenizer.eos_id, *(i for i in more if i is not None)])
