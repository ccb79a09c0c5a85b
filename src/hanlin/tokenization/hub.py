"""Where are the files of a model or a tokenizer: in a local folder, or on the hub?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.extras import require

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "hanlin.json",
)


def local_folder(path: str | Path, *, files: Sequence[str], purpose: str) -> Path:
    """Return a local folder, after fetching the named files where `path` is a hub id.

    `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` are honored by the hub's own client.

    Args:
        path: a folder, or `owner/name` on the hub.
        files: names or patterns of the files that are needed; never code.
        purpose: what they are for, for the messages.

    Raises:
        InputError: there is no such folder, or the hub does not give the files.
    """
    folder = Path(path).expanduser()
    if folder.exists():
        return folder
    from hanlin.core.config import looks_like_hub_id  # pydantic takes longer than loading

    if not looks_like_hub_id(str(path)):
        raise InputError(
            f"{path} does not exist",
            why=f"{purpose} needs a local folder or a hub id such as owner/name",
            fix="check the path",
        )
    hub = require("huggingface_hub", extra="train", purpose=purpose)
    try:
        return Path(hub.snapshot_download(str(path), allow_patterns=list(files)))
    except Exception as error:  # no network, not found, gated, offline: one class each
        first_line = next(iter(str(error).strip().splitlines()), "")
        raise InputError(
            f"{path} is no local folder, and the hub did not give it",
            why=f"{type(error).__name__}: {first_line}",
            fix="check the name; log in with 'hf auth login' if it is gated; set HF_ENDPOINT "
            "for a mirror, or give a local folder",
        ) from error
