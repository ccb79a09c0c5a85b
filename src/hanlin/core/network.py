"""Can the hub be reached, and what of it is here already? Nothing is fetched."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

HUB = "https://huggingface.co"
MIRRORS = {
    "hf-mirror.com": "https://hf-mirror.com",
    "modelscope.cn": "https://modelscope.cn",
}
PATIENCE_SECONDS = 3.0


def hub_address() -> str:
    """Return the hub's address, or the mirror's that `HF_ENDPOINT` names."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def is_offline() -> bool:
    """Tell whether `HF_HUB_OFFLINE` (or `TRANSFORMERS_OFFLINE`) forbids to reach out."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)


def cache_folder() -> Path:
    """Return where the hub's client keeps what it fetched."""
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def is_cached(name: str, *, kind: Literal["models", "datasets"] = "models") -> bool:
    """Tell whether some revision of a model or data set was fetched before.

    Args:
        name: owner/name; of a data set also owner/name/folder.
        kind: what it is.
    """
    owner, own = name.split("/")[:2]
    folder = cache_folder() / f"{kind}--{owner}--{own}" / "snapshots"
    return folder.is_dir() and any(folder.iterdir())


def why_unreachable(address: str, *, seconds: float = PATIENCE_SECONDS) -> str:
    """Return why an address does not answer in time, "" when it does.

    Any answer counts, also a refusal: the server is there.
    """
    if not address.startswith(("http://", "https://")):
        return "it is no http address"
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=seconds):  # noqa: S310
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(reason).splitlines()[0] or type(reason).__name__
