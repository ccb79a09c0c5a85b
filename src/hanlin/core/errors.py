"""What went wrong, why, and what to type to mend it.

Every error raised on purpose is a `HanlinError`; anything else that reaches `cli/main.py` is a
bug of ours and is reported as one (exit code 1).
"""

from __future__ import annotations


class HanlinError(Exception):
    """Base of all expected failures.

    Args:
        what: one sentence that names the value, the file and the line.
        why: the rule it breaks, or the cause.
        fix: what to type or edit next.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        self.what, self.why, self.fix = what, why, fix
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class ConfigError(HanlinError):
    """A recipe, a flag or a value that the user wrote is wrong."""

    exit_code = 2


class MissingExtraError(HanlinError):
    """An optional dependency is not installed."""

    exit_code = 3


class InputError(HanlinError):
    """An input is missing, unreadable, of the wrong kind, or does not match its checksum."""

    exit_code = 4


class ResourceError(HanlinError):
    """Not enough disk, memory, devices or permissions for what was asked."""

    exit_code = 5


class StageFailedError(HanlinError):
    """A stage ran and failed; the run can be resumed."""

    exit_code = 6
