"""Which tokens may come next, so that the text fits a grammar? Asked of llguidance, byte by byte.

    constraints = Constraints(tokenizer)                        # one for each tokenizer
    constraint = constraints.open(Grammar("choice", '["是", "否"]'))
    mask_V = constraint.allowed(ends)                           # then constraint.advance(token)
    look_ahead([constraint, ...], [ends, ...])                  # allowed(ends), in a thread

Tokens are known by their bytes, so that a character may be cut anywhere (byte fallback, byte-level
BPE). JSON comes without free white space: small models fill it without end. A schema that wants
spaces after commas and colons says so: `"x-guidance": {"item_separator": ", ", "key_separator":
": "}`.

What may come after a token depends on no logits: so the masks of all requests are computed at once,
by a thread, while the model computes the logits. For a model of a million parameters both take
about as long.
Axes: R constraints, V entries of the vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch

from hanlin.core.errors import ConfigError
from hanlin.core.extras import require
from hanlin.core.records import Grammar
from hanlin.tokenization.load import Tokenizer

MAX_KEPT = 64  # grammars that stay compiled
FIX = "mend the grammar, or ask without one"


class Constraint:
    """Where one answer stands in its grammar.

    Args:
        matcher: an llguidance.LLMatcher of its own.
        worker: computes masks; shared by all of a tokenizer.
    """

    def __init__(self, matcher: Any, worker: _Worker) -> None:  # noqa: ANN401
        self._matcher, self._worker = matcher, worker
        self._begun: tuple[Future[_Masks], int, frozenset[int]] | None = None  # of which row

    @property
    def is_complete(self) -> bool:
        """Tell whether the text fits the grammar, and nothing more may come."""
        self._settle()
        return bool(self._matcher.is_stopped()) and self.may_end

    @property
    def may_end(self) -> bool:
        """Tell whether the text fits the grammar as it is."""
        self._settle()
        return bool(self._matcher.is_accepting())

    def allowed(self, ends: Collection[int]) -> torch.Tensor:
        """Return which tokens may come next: bool [V].

        Args:
            ends: the tokens that end an answer: they may come where the grammar may end.

        Raises:
            ConfigError: none may come, so the grammar cannot be satisfied; or it got too large.
        """
        wanted = frozenset(ends)
        if self._begun is None or self._begun[2] != wanted:
            self._settle()
            masks, row = self._worker.masks([self._matcher], [wanted]), 0
        else:
            masks, row = self._begun[0].result(), self._begun[1]
        if masks.is_dead[row]:
            raise self._refused()
        return masks.allowed_RV[row]

    def advance(self, token_id: int) -> None:
        """Take a token that was allowed.

        Raises:
            ConfigError: what the grammar demands after it is too large.
        """
        self._settle()
        self._begun = None
        if not self._matcher.consume_token(token_id):
            raise self._refused()

    def _settle(self) -> None:
        """Wait until no thread works on the matcher."""
        if self._begun is not None:
            self._begun[0].result()

    def _refused(self) -> ConfigError:
        why = _reason(self._matcher)
        return ConfigError("the grammar cannot be satisfied", why=why, fix=FIX)

    def copy(self) -> Constraint:
        """Return one that stands at the same place and goes its own way."""
        self._settle()
        other = Constraint(self._matcher.deep_copy(), self._worker)
        other._begun = self._begun
        return other


def look_ahead(constraints: Sequence[Constraint], ends: Sequence[Collection[int]]) -> None:
    """Begin to compute what each constraint will allow; the caller may do something else meanwhile.

    Args:
        constraints: of one tokenizer.
        ends: for each, the tokens that end an answer.
    """
    if not constraints:
        return
    wanted = [frozenset(one) for one in ends]
    matchers = [one._matcher for one in constraints]
    begun = constraints[0]._worker.begin(matchers, wanted)
    for row, one in enumerate(constraints):
        one._begun = begun, row, wanted[row]


@dataclass(frozen=True)
class _Masks:
    """What several constraints allow.

    Attributes:
        allowed_RV: bool [R, V].
        is_dead: for each whether nothing may come.
    """

    allowed_RV: torch.Tensor
    is_dead: list[bool]


class _Worker:
    """Computes masks, one after the other or in a thread."""

    def __init__(self, library: Any, vocab_size: int) -> None:  # noqa: ANN401
        self._executor = library.LLExecutor(num_threads=1)
        self._vocab_size = vocab_size

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="masks")

    def begin(self, matchers: list[Any], ends: list[frozenset[int]]) -> Future[_Masks]:
        """Compute masks in the thread."""
        return self._thread.submit(self.masks, matchers, ends)

    def masks(self, matchers: list[Any], ends: list[frozenset[int]]) -> _Masks:
        """Compute masks."""
        words = np.zeros((len(matchers), -(-self._vocab_size // 32)), dtype=np.uint32)
        self._executor.unsafe_compute_mask_ptr(
            list(zip(matchers, range(len(matchers)), strict=True)),
            words.ctypes.data, words.shape[1] * words.itemsize, len(words),
        )  # fmt: skip
        bits = np.unpackbits(
            words.view(np.uint8), axis=1, count=self._vocab_size, bitorder="little"
        )
        for row, matcher in enumerate(matchers):
            if matcher.is_accepting():
                bits[row, list(ends[row])] = 1
        is_dead = ~bits.any(axis=1)
        errors = [matcher.is_error() for matcher in matchers]
        return _Masks(torch.from_numpy(bits).bool(), (is_dead | np.array(errors)).tolist())


class Constraints:
    """Compiles grammars for one tokenizer, each once; may be asked by several threads.

    Args:
        tokenizer: the model's.

    Raises:
        MissingExtraError: llguidance is not installed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._llguidance = require("llguidance", extra="serve", purpose="constrained decoding")
        wrapped = self._llguidance.TokenizerWrapper(_Bytes(tokenizer))
        self._vocabulary = self._llguidance.LLTokenizer(wrapped)
        self._worker = _Worker(self._llguidance, tokenizer.vocab_size)
        self._compiled: dict[Grammar, Constraint] = {}
        self._lock = Lock()

    def open(self, grammar: Grammar) -> Constraint:
        """Return a constraint that stands at the beginning of a grammar.

        Raises:
            ConfigError: the grammar cannot be read, or no text satisfies it.
        """
        with self._lock:
            if grammar not in self._compiled:
                if len(self._compiled) >= MAX_KEPT:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[grammar] = self._compile(grammar)
            return self._compiled[grammar].copy()

    def _compile(self, grammar: Grammar) -> Constraint:
        matcher = self._llguidance.LLMatcher(self._vocabulary, self._source(grammar), log_level=0)
        if matcher.is_error():
            raise ConfigError(
                f"the grammar ({grammar.kind}) cannot be used", why=_reason(matcher), fix=FIX
            )
        constraint = Constraint(matcher, self._worker)
        constraint.copy().allowed([self._tokenizer.eos_id])
        return constraint

    def _source(self, grammar: Grammar) -> str:
        """Return a grammar as llguidance reads it."""
        make: Any = self._llguidance.LLMatcher
        if grammar.kind == "lark":
            return str(make.grammar_from_lark(grammar.text))
        if grammar.kind == "regex":
            return str(make.grammar_from_regex(grammar.text))
        content = _json(grammar)
        if grammar.kind == "choice":
            if not isinstance(content, list) or not all(isinstance(text, str) for text in content):
                raise ConfigError(
                    "the grammar (choice) is no list of texts",
                    why=f"it is {grammar.text[:80]}",
                    fix='give a JSON list such as ["yes", "no"]',
                )
            content = [text for text in dict.fromkeys(content) if text]
            if not content:
                raise ConfigError(
                    "the grammar (choice) has no text to choose",
                    why="nothing stands in the list",
                    fix=FIX,
                )
            return str(make.grammar_from_lark("start: " + " | ".join(_quoted(content))))
        if not isinstance(content, dict | bool):
            raise ConfigError("the grammar (json_schema) is no JSON schema",
                              why="a schema is an object", fix=FIX)  # fmt: skip
        schema = json.dumps(content, ensure_ascii=False)
        return str(make.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False}))


def _quoted(texts: Collection[str]) -> list[str]:
    return [json.dumps(text, ensure_ascii=False) for text in texts]


class _Bytes:
    """A tokenizer as llguidance wants one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = tokenizer.eos_id, tokenizer.bos_id
        self.tokens = [tokenizer.bytes_of(index) for index in range(tokenizer.vocab_size)]
        self.special_token_ids = [index for index, data in enumerate(self.tokens) if not data]

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, at_start=False)


def _json(grammar: Grammar) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(grammar.text)
    except ValueError as error:
        raise ConfigError(
            f"the grammar ({grammar.kind}) is no JSON", why=str(error), fix=FIX
        ) from error


def _reason(matcher: Any) -> str:  # noqa: ANN401 - an LLMatcher
    """Return the first lines of what llguidance says, without its internal state."""
    lines = str(matcher.get_error()).partition("<state>")[0].strip().splitlines()
    if not lines or " " not in lines[0]:  # the name of a state
        return "no text can go on as it demands"
    return "\n    ".join(lines[:6])
