"""How is the `tokenizer.model` of LLaMA 3 read and written?

It is no SentencePiece model but a table of tiktoken (https://github.com/openai/tiktoken): a line
for each token with its bytes in base64 and its rank, which is its id. The pair whose union has the
lowest rank is merged first. Special tokens and the words that text is cut into are not in the file;
they are in Meta's code.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.tokenization import backend
from hanlin.tokenization.bpe import STYLES, byte_bpe_json, byte_bpe_settings
from hanlin.tokenization.load import Tokenizer, from_content

LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+")
_RESERVED = "<|reserved_special_token_{}|>"
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>")
# The 256 special tokens behind the ranks, as transformers names them.
SPECIAL_3 = (
    "<|begin_of_text|>", "<|end_of_text|>", *(_RESERVED.format(i) for i in range(4)), *_HEADERS,
    _RESERVED.format(4), "<|eot_id|>", *(_RESERVED.format(i) for i in range(5, 251)),
)  # fmt: skip
SPECIAL_3_1 = (
    "<|begin_of_text|>", "<|end_of_text|>", _RESERVED.format(0), _RESERVED.format(1),
    "<|finetune_right_pad_id|>", _RESERVED.format(2), *_HEADERS, "<|eom_id|>", "<|eot_id|>",
    "<|python_tag|>", *(_RESERVED.format(i) for i in range(3, 248)),
)  # fmt: skip


def is_tiktoken(path: Path) -> bool:
    """Tell whether a file is a table of tiktoken, by its first line.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return LINE.fullmatch(stream.readline(10_000).strip()) is not None
    except OSError as error:
        raise os_error(error, path) from error


def read_tiktoken(path: Path, *, special: Sequence[str]) -> Tokenizer:
    """Read a table of tiktoken as LLaMA 3's tokenizer.

    Args:
        path: the file.
        special: the special tokens behind the ranks, for example `SPECIAL_3`.

    Raises:
        InputError: a line is damaged or a rank is missing.
    """
    ranks = _read_ranks(path)
    names = {token: _letters(token) for token in ranks}
    merges = [[names[left], names[right]] for left, right in _merges(ranks)]
    style = STYLES["llama3"]
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
        "ignore_merges": style.ignore_merges,
        "vocab": {names[token]: rank for token, rank in ranks.items()}, "merges": merges,
    }  # fmt: skip
    settings = byte_bpe_settings(style)
    if settings["pad_token"] not in special:
        settings["pad_token"] = special[-1]  # reserved: it never occurs in text
    return from_content(byte_bpe_json(model, style, special), settings=settings, path=path)


def tiktoken_bytes(tokenizer: Tokenizer) -> bytes | None:
    """Return the table that gives the same ids; None where there is none.

    There is one for byte-level tokenizers whose ids are in the order of the merges, with the
    special tokens behind them.
    """
    if not backend.is_byte_level(tokenizer.content):
        return None
    special = backend.special_tokens(tokenizer.content)
    count = min(special.values(), default=tokenizer.vocab_size)
    texts = [tokenizer.piece_of(index) for index in range(count)]
    if sorted(special.values()) != list(range(count, tokenizer.vocab_size)):
        return None
    ids = {text: index for index, text in enumerate(texts)}
    pairs = [
        m.split(" ") if isinstance(m, str) else m for m in tokenizer.content["model"]["merges"]
    ]
    made = [ids.get("".join(pair), -1) for pair in pairs]
    if made != sorted(made) or -1 in made:
        return None
    lines = (
        base64.b64encode(tokenizer.bytes_of(index)) + b" " + str(index).encode() + b"\n"
        for index in range(count)
    )
    return b"".join(lines)


def _read_ranks(path: Path) -> dict[bytes, int]:
    """Return token -> rank, in order of the ranks."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise os_error(error, path) from error
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines):
        token, _, rank = line.partition(b" ")
        try:
            is_whole = LINE.fullmatch(line) is not None and int(rank) == number
            ranks[base64.b64decode(token, validate=True)] = number
        except binascii.Error:
            is_whole = False
        if not is_whole:
            raise InputError(
                f"{path}:{number + 1} is no line of a tiktoken table",
                why=f"expected a token in base64 and the rank {number}",
                fix="copy or download the file again",
            )
    if len(ranks) != len(lines) or any(bytes([byte]) not in ranks for byte in range(256)):
        raise InputError(
            f"{path} does not have every byte, or has a token twice",
            why="some texts would have no ids",
            fix="copy or download the file again",
        )
    return ranks


def _merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return every cut of a token into two tokens, in order of the rank of the whole."""
    merges = []
    for token in ranks:
        cuts = ((token[:i], token[i:]) for i in range(1, len(token)))
        pairs = [(left, right) for left, right in cuts if left in ranks and right in ranks]
        merges += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return merges


def _letters(token: bytes) -> str:
    """Return how a byte-level vocabulary writes bytes."""
    letters: dict[int, str] = {byte: text for text, byte in backend.byte_alphabet().items()}
    return "".join(letters[byte] for byte in token)
