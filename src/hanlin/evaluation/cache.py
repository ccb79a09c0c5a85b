"""Which answers has a model given already? A journal, so that a killed evaluation goes on.

Requests are sorted and cut into blocks, and a finished block is on disk before the next begins: a
kill loses one block. A block is computed whole or not at all, so a run that goes on gives the same
bytes as one that was never stopped.

    engine = CachedEngine(engine, folder / f"{model_digest(path)}.jsonl")
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.config import looks_like_hub_id
from hanlin.core.files import os_error, sha256
from hanlin.inference.engine import Engine, Generation, Sampling, ScoreRequest, find_model
from hanlin.inference.wrapped_engine import WrappedEngine

if TYPE_CHECKING:
    pass

SCORE_BLOCK = 512  # requests; a beginning shared across two blocks is computed twice
GENERATE_BLOCK = 64


def model_digest(model: str) -> str:
    """Return a digest of what decides a model's answers to token ids: weights and config.

    Args:
        model: as `open_engine` takes it.
    """
    from hanlin.models.load import model_folder
    from hanlin.models.manifest import weights_sha256

    found = model if looks_like_hub_id(model) else str(find_model(Path(model).expanduser()))
    if found.endswith(".gguf"):
        return sha256(Path(found))
    folder = model_folder(found)
    names = ("config.json", "generation_config.json")
    parts = [sha256(folder / name) for name in names if (folder / name).is_file()]
    return hashlib.sha256(" ".join([weights_sha256(folder), *parts]).encode()).hexdigest()


class CachedEngine(WrappedEngine):
    """An engine that keeps its answers in a journal.

    Args:
        engine: computes what is not there yet.
        file: the journal, one for each model; made where there is none.
    """

    def __init__(self, engine: Engine, file: Path) -> None:
        super().__init__(engine)
        self._file = file
        self._known = _read(file)

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats."""
        keys = [_key("score", [list(map(int, part)) for part in pair]) for pair in requests]
        by_key = dict(zip(keys, requests, strict=True))
        order = sorted(by_key, key=lambda key: [*map(list, by_key[key])])
        self._fill(order, SCORE_BLOCK, lambda block: self._engine.score([by_key[k] for k in block]))
        return [self._known[key] for key in keys]

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt; only plain greedy answers are kept."""
        plain = Sampling(
            sampling.max_new_tokens,
            seed=sampling.seed,
            stop=sampling.stop,
            stop_ids=sampling.stop_ids,
        )
        if sampling != plain:
            return self._engine.generate(prompts, sampling)
        settings = [sampling.max_new_tokens, list(sampling.stop), list(sampling.stop_ids)]
        keys = [_key("generate", [list(map(int, prompt)), settings]) for prompt in prompts]
        by_key = dict(zip(keys, prompts, strict=True))

        def compute(block: list[str]) -> list[Any]:
            answers = self._engine.generate([by_key[key] for key in block], sampling)
            return [asdict(answer) for answer in answers]

        self._fill(list(by_key), GENERATE_BLOCK, compute)
        return [
            Generation(found["text"], tuple(found["ids"]), found["stopped_by"])
            for found in (self._known[key] for key in keys)
        ]

    def _fill(
        self, keys: list[str], size: int, compute: Callable[[list[str]], Sequence[Any]]
    ) -> None:
        """Compute the blocks in which an answer is missing, and write each down."""
        for start in range(0, len(keys), size):
            block = keys[start : start + size]
            if all(key in self._known for key in block):
                continue
            values = dict(zip(block, compute(block), strict=True))
            self._append(values)
            self._known |= values

    def _append(self, values: Mapping[str, Any]) -> None:
        lines = "".join(json.dumps([key, value]) + "\n" for key, value in values.items())
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as journal:
                if journal.tell() and not _ends_whole(self._file):
                    journal.write(b"\n")
                journal.write(lines.encode())
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise os_error(error, self._file) from error


def _key(kind: str, request: object) -> str:
    return hashlib.sha256(f"{kind} {json.dumps(request)}".encode()).hexdigest()


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as journal:
        journal.seek(-1, os.SEEK_END)
        return journal.read(1) == b"\n"


def _read(file: Path) -> dict[str, Any]:
    """Return the answers of a journal; a line that a kill cut off is passed over."""
    known = {}
    if file.is_file():
        for line in file.read_bytes().splitlines():
            try:
                key, value = json.loads(line)
            except ValueError:
                continue
            known[key] = value
    return known
