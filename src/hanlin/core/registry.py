"""A table of names that imports nothing until a name is looked up."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints


class LazyTable:
    """Maps a public name to "package.module:attribute".

    Listing names is free; only `get` imports, and only the module asked for. Other packages add
    names through the entry-point group.

    Args:
        noun: what one entry is called in messages ("stage", "backend").
        targets: name -> "module:attribute".
        group: entry-point group for plug-ins, e.g. "hanlin.stages".
    """

    def __init__(self, noun: str, targets: Mapping[str, str], *, group: str) -> None:
        self.noun, self.group = noun, group
        self.targets = dict(targets)

    def names(self) -> list[str]:
        """Return all names, built-in first, plug-ins after; never import an entry."""
        plugins = sorted(p.name for p in _plugins(self.group))
        return [*self.targets, *(p for p in plugins if p not in self.targets)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def get(self, name: str) -> Any:  # noqa: ANN401 - each table documents its own entry type
        """Import and return one entry.

        Raises:
            ConfigError: no entry has that name.
        """
        if name in self.targets:
            module, _, attribute = self.targets[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        for plugin in _plugins(self.group).select(name=name):
            return plugin.load()
        raise ConfigError(
            f"unknown {self.noun} {name!r}",
            why=f"known {self.noun}s: {', '.join(self.names())}",
            fix=did_you_mean(name, self.names()),
        )


def _plugins(group: str) -> EntryPoints:
    """Return the entry points of other packages in a group."""
    from importlib.metadata import entry_points  # a twentieth of a second at every start

    return entry_points(group=group)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint such as "did you mean 'lora'?", or "" when nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""
