"""What can be found in a checkpoint that is verified?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Something wrong ("error") or odd ("warning").

    Attributes:
        level: errors make the checkpoint unfit for use.
        where: a tensor or a file.
        what: one sentence.
    """

    level: Literal["error", "warning"]
    where: str
    what: str


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found.

    Attributes:
        layout: "hf", "meta", "adapter", or "file" for tensors without settings.
        tensors: number of tensors.
        size_bytes: of all tensors.
        dtypes: type -> number of tensors.
        has_digests: there was a manifest to compare with.
        files_checked: number of files that a list of digests names.
        findings: errors and warnings, in the order of the files.
    """

    layout: str
    tensors: int
    size_bytes: int
    dtypes: dict[str, int]
    has_digests: bool
    files_checked: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """Return the findings that make it unfit for use."""
        return [finding for finding in self.findings if finding.level == "error"]

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self) | {"findings": [asdict(finding) for finding in self.findings]}
