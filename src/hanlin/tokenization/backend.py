"""How is plain text turned to ids, so that it stays plain text?

What encodes knows no special tokens: `</s>` typed by a user is four ordinary tokens, not the end.
And it puts no space before a text: whoever wants one there gives it with the text.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hanlin.core.extras import require
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.sentencepiece import SPACE
from hanlin.tokenization.sentencepiece_json import NEVER

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Json = dict[str, Any]


@dataclass(frozen=True)
class Encoder:
    """Plain text to ids, for one text or for many on all cores; or to int32 arrays."""

    one: Callable[[str], list[int]]
    many: Callable[[list[str]], list[list[int]]]
    arrays: Callable[[list[str]], list[npt.NDArray[np.int32]]]


def sentencepiece_encoder(model: Any) -> Encoder:  # noqa: ANN401 - a ModelProto
    """Return an encoder that is SentencePiece itself."""
    processor = sentencepiece.processor(model, dummy_prefix=False)
    has_arrays = hasattr(processor, "encode_as_numpy")  # since SentencePiece 0.2.3

    def arrays(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        import numpy as np

        if has_arrays:
            found: list[npt.NDArray[np.int32]] = processor.encode(texts, return_type="numpy")
            return found
        return [np.array(ids, np.int32) for ids in processor.encode(texts)]

    return Encoder(one=processor.encode, many=processor.encode, arrays=arrays)


def tokenizers_encoder(content: Json) -> Encoder:
    """Return an encoder of Hugging Face's `tokenizers` for the content of a `tokenizer.json`."""
    tokenizer = build(plain(content, with_prefix=False))

    def one(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def many(texts: list[str]) -> list[list[int]]:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def arrays(texts: list[str]) -> list[npt.NDArray[np.int32]]:
        import numpy as np

        return [np.array(ids, np.int32) for ids in many(texts)]

    return Encoder(one=one, many=many, arrays=arrays)


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
    content["added_tokens"] = [
        t | {"lstrip": False, "rstrip": False}  # spaces beside them would be lost
        for t in content.get("added_tokens", ())
        if not t["special"]
    ]
    content["post_processor"] = content["truncation"] = content["padding"] = None
    _hide(model, set(special))
    _number(model, content["added_tokens"])
    _set_prefix(content, with_prefix and has_prefix(content))
    return content


def special_tokens(content: Json) -> dict[str, int]:
    """Return text -> id of the tokens that stand for no text."""
    return {t["content"]: t["id"] for t in content.get("added_tokens", ()) if t["special"]}


def vocabulary(content: Json) -> dict[str, int]:
    """Return text -> id of all entries, added ones included."""
    table = content["model"]["vocab"]
    if isinstance(table, list):  # of a unigram model: [text, score]
        table = {text: index for index, (text, _) in enumerate(table)}
    return {
        **table,
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
    """Take away whatever would make special tokens, or bytes, of text that spells them."""
    if isinstance(model["vocab"], list):
        model["vocab"] = [_unmatched(text, score, special) for text, score in model["vocab"]]
        return
    if model.get("ignore_merges"):  # a word that is an entry is taken at once, without merges
        model["vocab"] = {t: index for t, index in model["vocab"].items() if t not in special}
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    model["merges"] = [list(pair) for pair in pairs if "".join(pair) not in special]


def _number(model: Json, added: list[Json]) -> None:
    """Give added tokens their ids: without the special ones `tokenizers` would count anew."""
    table = model["vocab"]
    ids = {t["content"]: t["id"] for t in added}
    if isinstance(table, list):
        rest = {index: text for text, index in ids.items() if index >= len(table)}
        more = range(len(table), max(rest, default=-1) + 1)
        model["vocab"] = table + [[rest.get(index, f" {index}"), NEVER] for index in more]
    else:
        model["vocab"] = table | ids


def _unmatched(text: str, score: float, special: set[str]) -> list[Any]:
    """Return an entry of a unigram model; a special one has a text that no text can hold."""
    if text in special:
        return [f" {text}", NEVER]  # every space has become another character before
    return [text, min(score, NEVER) if _is_byte_name(text) else score]


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
    alphabet = byte_alphabet() if is_byte_level(content) else None
    for text, index in table.items():
        if alphabet is not None and text not in added and alphabet.keys() >= set(text):
            result[index] = bytes(alphabet[c] for c in text)
        elif _is_byte_name(text):
            result[index] = bytes([int(text[3:5], 16)])
        else:
            result[index] = text.replace(SPACE, " ").encode()
    return result


def _is_byte_name(text: str) -> bool:
    return len(text) == 6 and text.startswith("<0x") and text.endswith(">")


def byte_alphabet() -> dict[str, int]:
    """Return the printable character -> byte table of GPT-2's byte-level BPE (Radford 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}
