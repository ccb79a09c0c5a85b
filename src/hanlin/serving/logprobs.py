"""How do log-probabilities look in OpenAI's replies?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hanlin.inference.engine import TokenLogprob

LEAST = -9999.0  # stands for minus infinity, which JSON does not have


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Return the `logprobs` of a chat's choice."""
    rows = [
        {
            **_row(token.data, token.logprob),
            "top_logprobs": [_row(data, logprob) for _, data, logprob in token.top],
        }
        for token in tokens
    ]
    return {"content": rows, "refusal": None}


def completion_logprobs(tokens: Sequence[TokenLogprob], *, offset: int) -> dict[str, Any]:
    """Return the `logprobs` of a completion's choice.

    Args:
        tokens: new tokens.
        offset: characters of the text before them.
    """
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += count_characters(token.data)
    return {
        "tokens": [token_text(token.data) for token in tokens],
        "token_logprobs": [max(token.logprob, LEAST) for token in tokens],
        "top_logprobs": [
            {token_text(data): max(logprob, LEAST) for _, data, logprob in reversed(token.top)}
            for token in tokens
        ],
        "text_offset": offsets,
    }


def count_characters(data: bytes) -> int:
    """Return how many characters begin in these bytes of UTF-8."""
    return sum((byte & 0xC0) != 0x80 for byte in data)


def token_text(data: bytes) -> str:
    r"""Return a token's text; bytes that are no character are written as `\xe4`."""
    return data.decode("utf-8", "backslashreplace").replace("\ufffd", r"\xef\xbf\xbd")


def _row(data: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token_text(data), "logprob": max(logprob, LEAST), "bytes": list(data)}
