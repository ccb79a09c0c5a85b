"""How does a data set of the Hugging Face hub become a folder of files?"""

from __future__ import annotations

import re
from pathlib import Path

from hanlin.core.config import InputPath
from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.data.readers.detect import SUFFIXES

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(/[\w./-]+)?")
PACKED = ("", ".gz", ".xz", ".zst")
TABLES = ("parquet", "arrow")


class DataPath(InputPath):
    """Data: like `InputPath`, but a data set of the hub (`owner/name[/folder]`) is allowed too."""

    __slots__ = ()

    @property
    def is_hub_id(self) -> bool:
        """Tell whether it can only be a data set of the hub."""
        return not self.is_reference and is_hub_id(Path(self))


def is_hub_id(path: Path) -> bool:
    """Tell `owner/name` (or `owner/name/folder`) from a path that is merely missing.

    What is there is no hub id, nor is what looks like a file of data, or lies in a folder that is
    there.
    """
    suffixes = {f".{suffix}" for suffix in (*SUFFIXES, "txt", "bin")}
    return (
        HUB_ID.fullmatch(path.as_posix()) is not None
        and not Path(path.parts[0]).exists()
        and not suffixes & set(path.suffixes)
    )


def fetched(path: Path) -> Path:
    """Return the folder of a data set on the hub, which is downloaded where the cache lacks it.

    `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` are respected. Of `owner/name/folder` only that
    folder is fetched. Parquet is preferred where there is any.

    Raises:
        InputError: there is no such data set, or no connection and nothing in the cache.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = require("huggingface_hub", extra="data", purpose="reading a data set of the hub")
    repository, below = "/".join(path.parts[:2]), "/".join(path.parts[2:])
    patterns = [f"*.{suffix}{packed}" for suffix in (*SUFFIXES, "txt") for packed in PACKED]
    patterns = [f"{below}/{pattern}" for pattern in patterns] if below else patterns
    try:
        folder = hub.snapshot_download(repository, repo_type="dataset", allow_patterns=patterns)
    except Exception as error:
        is_of_hub = type(error).__module__.startswith(("huggingface_hub", "httpx", "requests"))
        if not is_of_hub and not isinstance(error, OSError):
            raise
        raise InputError(
            f"{path} is neither here nor a data set that can be fetched from the hub",
            why=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            fix="check the path; without a connection: hf download --repo-type dataset "
            f"{repository} elsewhere, then give its folder",
        ) from error
    return Path(folder) / below


def of_one_dataset(files: list[Path]) -> list[Path]:
    """Leave out what only describes a saved data set, such as README.md, dataset_info.json."""
    tables = [file for file in files if file.suffix.removeprefix(".") in TABLES]
    return tables or files
