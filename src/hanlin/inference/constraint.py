"""Which tokens may come next, so that the text fits a grammar? Asked of llguidance, byte by byte.

    constraints = Constraints(tokenizer)                        # one for each tokenizer
    constraint = constraints.open(Grammar("choice", '["是", "否"]'))
    mask_V = constraint.allowed(ends)                           # then constraint.advance(token)

Tokens are known by their bytes, so that a character may be cut anywhere (byte fallback, byte-level
BPE). JSON comes without free white space: small models fill it without end. A schema that wants
spaces after commas and colons says so: `"x-guidance": {"item_separator": ", ", "key_separator":
": "}`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
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
        tokenizer: whose ids it takes.
    """

    def __init__(self, matcher: Any, tokenizer: Tokenizer) -> None:  # noqa: ANN401
        self._matcher, self._tokenizer = matcher, tokenizer

    @property
    def is_complete(self) -> bool:
        """Tell whether the text fits the grammar, and nothing more may come."""
        return bool(self._matcher.is_stopped()) and self.may_end

    @property
    def may_end(self) -> bool:
        """Tell whether the text fits the grammar as it is."""
        return bool(self._matcher.is_accepting())

    def allowed(self, ends: Collection[int]) -> torch.Tensor:
        """Return which tokens may come next: bool [V].

        Args:
            ends: the tokens that end an answer: they may come where the grammar may end.

        Raises:
            ConfigError: none may come, so the grammar cannot be satisfied; or it got too large.
        """
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        bits = np.unpackbits(packed, count=self._tokenizer.vocab_size, bitorder="little")
        if self.may_end:
            bits[list(ends)] = 1
        mask_V = torch.from_numpy(bits).bool()
        if self._matcher.is_error() or not mask_V.any():
            raise self._refused()
        return mask_V

    def advance(self, token_id: int) -> None:
        """Take a token that was allowed.

        Raises:
            ConfigError: what the grammar demands after it is too large.
        """
        if not self._matcher.consume_token(token_id):
            raise self._refused()

    def _refused(self) -> ConfigError:
        why = _reason(self._matcher)
        return ConfigError("the grammar cannot be satisfied", why=why, fix=FIX)

    def copy(self) -> Constraint:
        """Return one that stands at the same place and goes its own way."""
        return Constraint(self._matcher.deep_copy(), self._tokenizer)


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
        constraint = Constraint(matcher, self._tokenizer)
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
