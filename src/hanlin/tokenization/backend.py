"""How is a `tokenizer.json` changed so that plain text stays plain text?

Two backends are built from one file: one for the start of a text, one for its continuation.
Both know no special tokens: `</s>` typed by a user is four ordinary tokens, not the end.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from hanlin.core.extras import require
from hanlin.tokenization.sentencepiece import SPACE

Json = dict[str, Any]


def build(content: Json) -> Any:  # noqa: ANN401 - a tokenizers.Tokenizer
    """Return a `tokenizers.Tokenizer` for the content of a `tokenizer.json`."""
    tokenizers = require("tokenizers", extra="train", purpose="loading a tokenizer")
    return tokenizers.Tokenizer.from_str(json.dumps(content))


def plain(content: Json, *, with_prefix: bool) -> Json:
    """Return a copy that never makes special tokens from text.

    Args:
        content: a `tokenizer.json`.
        with_prefix: keep the dummy space in front of a text; False for a continuation.
    """
    special = special_tokens(content)
    model = dict(content["model"])  # the large tables in it are shared, not copied
    content = copy.deepcopy({key: part for key, part in content.items() if key != "model"})
    content["model"] = model
    content["added_tokens"] = [t for t in content.get("added_tokens", ()) if not t["special"]]
    content["post_processor"] = content["truncation"] = content["padding"] = None
    _hide(model, set(special))
    _set_prefix(content, with_prefix and has_prefix(content))
    return content


def special_tokens(content: Json) -> dict[str, int]:
    """Return text -> id of the tokens that stand for no text."""
    return {t["content"]: t["id"] for t in content.get("added_tokens", ()) if t["special"]}


def vocabulary(content: Json) -> dict[str, int]:
    """Return text -> id of all entries, added ones included."""
    return {
        **content["model"]["vocab"],
        **{t["content"]: t["id"] for t in content.get("added_tokens", ())},
    }


def has_prefix(content: Json) -> bool:
    """Tell whether a space is put before the start of every text."""
    if any(n["type"] == "Prepend" for n in _steps(content.get("normalizer"), "normalizers")):
        return True
    return any(
        step.get("prepend_scheme", "never") != "never" or step.get("add_prefix_space", False)
        for step in _steps(content.get("pre_tokenizer"), "pretokenizers")
    )


def is_byte_level(content: Json) -> bool:
    """Tell whether pieces are written in the byte alphabet of GPT-2."""
    return any(s["type"] == "ByteLevel" for s in _steps(content.get("decoder"), "decoders"))


def _steps(part: Json | None, key: str) -> list[Json]:
    """Return the steps of a section, whether it is a sequence or a single one."""
    if part is None:
        return []
    return part[key] if part["type"] == "Sequence" else [part]


def _hide(model: Json, special: set[str]) -> None:
    """Take away the merges that would spell a special token."""
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    model["merges"] = [list(pair) for pair in pairs if "".join(pair) not in special]


def _set_prefix(content: Json, wanted: bool) -> None:
    """Put a dummy space before every text, or before none, exactly as SentencePiece does.

    Metaspace leaves it out before a text that begins with a space; where Metaspace does not split,
    two normalizers do the same work and always prepend.
    """
    normalizers = _steps(content.get("normalizer"), "normalizers")
    normalizers = [step for step in normalizers if step["type"] != "Prepend"]
    splitters = _steps(content.get("pre_tokenizer"), "pretokenizers")
    if [s["type"] for s in splitters] == ["Metaspace"] and not splitters[0].get("split", True):
        splitters = []
        normalizers.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    for step in splitters:
        if "prepend_scheme" in step:
            step["prepend_scheme"] = "first" if wanted else "never"
        if "add_prefix_space" in step:
            step["add_prefix_space"] = wanted
    if wanted and not any("prepend_scheme" in s or "add_prefix_space" in s for s in splitters):
        normalizers.insert(0, {"type": "Prepend", "prepend": SPACE})
    content["normalizer"] = _sequence(normalizers, "normalizers")
    content["pre_tokenizer"] = _sequence(splitters, "pretokenizers")


def _sequence(steps: list[Json], key: str) -> Json | None:
    return {"type": "Sequence", key: steps} if steps else None


def piece_bytes(content: Json) -> list[bytes]:
    """Return for every id the bytes it stands for; b"" for special tokens and gaps."""
    special = set(special_tokens(content))
    table = {text: index for text, index in vocabulary(content).items() if text not in special}
    result = [b""] * (max(vocabulary(content).values()) + 1)
    added = {t["content"] for t in content.get("added_tokens", ())}
    alphabet = _byte_alphabet() if is_byte_level(content) else None
    for text, index in table.items():
        if alphabet is not None and text not in added:
            result[index] = bytes(alphabet[c] for c in text)
        elif len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            result[index] = bytes([int(text[3:5], 16)])
        else:
            result[index] = text.replace(SPACE, " ").encode()
    return result


def _byte_alphabet() -> dict[str, int]:
    """Return the printable character -> byte table of GPT-2's byte-level BPE (Radford 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}
