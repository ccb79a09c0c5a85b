"""Was this adapter or model trained with the prompt ids that we would make now?

The ids of one fixed conversation are stored beside every model that was tuned on a prompt format
(`hanlin.json`, `store.json`), and compared wherever it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.records import Conversation, Message
from hanlin.prompts.encode import TextEncoder, encode_conversation
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.formats import get_format

# Both scripts, digits, full-width forms, an emoji, spaces and line breaks that must survive, and a
# text that looks like an end token. Changing one character makes every stored record fail.
PROBE = Conversation(
    (
        Message("system", "Answer briefly. 请简短回答。"),
        Message("user", "What is 12 + 34？ 你好，世界！\n  two  spaces"),
        Message("assistant", "46。🙂 </s>"),
        Message("user", "谁写了《石头记》？"),
        Message("assistant", "Cao Xueqin\n曹雪芹"),
    )
)


def probe_ids(format: PromptFormat, tokenizer: TextEncoder) -> list[int]:
    """Return the ids of the probe conversation."""
    return encode_conversation(PROBE, format=format, tokenizer=tokenizer).ids


def prompt_record(format: PromptFormat, tokenizer: TextEncoder) -> dict[str, object]:
    """Return what manifests store under "prompt"."""
    return {"format": format.name, "probe_ids": probe_ids(format, tokenizer)}


def check_probe(
    manifest: Mapping[str, Any], tokenizer: TextEncoder, *, where: str = "the model's manifest"
) -> PromptFormat | None:
    """Return the prompt format that a manifest names, after comparing its probe ids.

    Args:
        manifest: `hanlin.json` or a token store's header; without "prompt" nothing is known.
        tokenizer: the tokenizer that will be used now.
        where: file that the manifest came from, for the message.

    Raises:
        InputError: the ids differ.
        ConfigError: the format is unknown here.
    """
    record = manifest.get("prompt")
    if not record:
        return None
    format = get_format(record["format"])
    now = probe_ids(format, tokenizer)
    if now != list(record["probe_ids"]):
        at = _first_difference(now, record["probe_ids"])
        raise InputError(
            f"{where}: prompt format {format.name!r} no longer gives the ids it was trained with",
            why=f"a probe conversation differs from token {at} on: the tokenizer or the format "
            "changed after training, so every prompt would look different to the model",
            fix="use the tokenizer that lies beside the model, or repeat prepare-chat and finetune",
        )
    return format


def _first_difference(now: Sequence[int], stored: Sequence[int]) -> int:
    pairs = zip(now, stored, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(now), len(stored)))
