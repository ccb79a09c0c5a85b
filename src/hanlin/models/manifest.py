"""What does `hanlin.json` beside a model or an adapter say: which tokenizer, which prompt?"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hanlin.core.environment import usable_cpus
from hanlin.core.errors import InputError
from hanlin.core.files import read_json, sha256, write_json

FILE_NAME = "hanlin.json"
VERSION = 1


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Return the content of a folder's `hanlin.json`, {} where there is none.

    Raises:
        InputError: it is damaged, or was written by a newer version.
    """
    file = Path(path) / FILE_NAME
    if not file.exists():
        return {}
    content = read_json(file)
    version = content.get("version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version > VERSION:
        raise InputError(
            f"{file} has version {version!r}, this Hanlin reads up to {VERSION}",
            why="it is damaged, or was written by a newer version",
            fix="pip install --upgrade hanlin, or make the folder again",
        )
    return dict(content)


def write_manifest(path: str | Path, **fields: object) -> Path:
    """Write `hanlin.json`; fields that are not named keep their value, None removes one.

    Args:
        path: the model's or adapter's folder.
        fields: `tokenizer_sha256`, `prompt`, `base`, ...
    """
    content = {**read_manifest(path), "version": VERSION, **fields}
    file = Path(path) / FILE_NAME
    write_json(file, {key: value for key, value in content.items() if value is not None})
    return file


def weights_sha256(folder: Path) -> str:
    """Return one digest of a model folder's weight files, by their names and contents."""
    files = sorted(folder.glob("*.safetensors"))
    with ThreadPoolExecutor(usable_cpus()) as pool:  # hashing leaves the interpreter's lock
        digests = list(pool.map(lambda file: f"{file.name} {sha256(file)}", files))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def check_tokenizer(path: str | Path, *, tokenizer_sha256: str, tokenizer_path: Path) -> None:
    """Refuse a tokenizer that a folder's weights were not made for.

    Raises:
        InputError: `hanlin.json` names another tokenizer.
    """
    expected = read_manifest(path).get("tokenizer_sha256")
    if expected is None or expected == tokenizer_sha256:
        return
    raise InputError(
        f"the tokenizer in {tokenizer_path} is not the one that {path} was made with",
        why=f"{FILE_NAME} has tokenizer_sha256 {expected[:12]}..., tokenizer.json has "
        f"{tokenizer_sha256[:12]}...",
        fix="put the right tokenizer.json back; if it was extended on purpose: "
        f"hanlin model grow {path} --tokenizer {tokenizer_path} --out NEW_DIR",
    )
