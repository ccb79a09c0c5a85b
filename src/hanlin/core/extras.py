"""Optional heavy dependencies, imported in one way with one message."""

from __future__ import annotations

import importlib
from types import ModuleType

from hanlin.core.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module or say exactly how to install it.

    Args:
        module: import name, e.g. "xllamacpp".
        extra: the extra in pyproject.toml that provides it.
        purpose: what the user was trying to do, for the message.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the package is there but broken: that traceback is the useful one
        raise MissingExtraError(
            f"{purpose} needs the package {module!r}, which is not installed",
            fix=f'pip install "hanlin[{extra}]"',
        ) from error
