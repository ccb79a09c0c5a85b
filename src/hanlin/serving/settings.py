"""What does a server offer, to whom, and how much of it at once?"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import ConfigError

if TYPE_CHECKING:
    from hanlin.extraction.schema import Schema
    from hanlin.inference.engine import Engine
    from hanlin.inference.scheduler import Scheduler
    from hanlin.prompts.format import PromptFormat

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8090  # KnowLM's
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_CHOICES = 16


@dataclass(frozen=True)
class Settings:
    """The guard's limits.

    Attributes:
        host: address that is listened on.
        keys: a request must name one of them; none: everybody who can connect may ask.
        hosts: names of this server that a request's Host may have, besides `host`.
        origins: pages of other servers that may ask ("https://example.org"); none by default.
        max_body_bytes: longest request.
        max_new_tokens: longest answer that may be asked for, in tokens.
        max_running: answers that are generated at once.
        max_waiting: answers that may wait for their turn; more are refused with 429.
        timeout_s: a request that takes longer ends with an error, its waiting counted.
        body_timeout_s: a request must have arrived completely by then.
        shutdown_s: how long answers may go on after the server was told to stop.

    Raises:
        ConfigError: a value is out of its range.
    """

    host: str = DEFAULT_HOST
    keys: tuple[str, ...] = field(default=(), repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    max_body_bytes: int = 4 << 20
    max_new_tokens: int = 4096
    max_running: int = 16
    max_waiting: int = 64
    timeout_s: float = 300.0
    body_timeout_s: float = 30.0
    shutdown_s: float = 10.0

    def __post_init__(self) -> None:
        least = {
            "max_body_bytes": 1024, "max_new_tokens": 1, "max_running": 1, "max_waiting": 0,
            "timeout_s": 0.1, "body_timeout_s": 0.1, "shutdown_s": 0.0,
        }  # fmt: skip
        for name, bound in least.items():
            value = getattr(self, name)
            if not bound <= value < float("inf"):
                raise ConfigError(f"{name} is {value}", why=f"it must be {bound} or more")

    @property
    def is_open_to_others(self) -> bool:
        """Tell whether other machines can connect."""
        return not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class UiPlace:
    """What the web page is about.

    Attributes:
        name: the model's name.
        engine: the model.
        scheduler: runs it; shared with the API.
        format: its prompt format.
        schemas: name -> language -> types to extract.
        other: a second model to compare with.
        runs: folder of runs whose report cards are shown.
        report_html: run directory -> its report card as a page.
    """

    name: str
    engine: Engine
    scheduler: Scheduler
    format: PromptFormat
    schemas: Mapping[str, Mapping[str, Schema]] = field(default_factory=dict)
    other: UiPlace | None = None
    runs: Path | None = None
    report_html: Callable[[Path], str] | None = None
