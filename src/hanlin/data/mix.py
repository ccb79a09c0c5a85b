"""How much of each source does an epoch hold? Weights become shares of tokens."""

from __future__ import annotations

from collections.abc import Mapping

from hanlin.core.errors import ConfigError
from hanlin.core.registry import did_you_mean
from hanlin.data.store import TokenStore


def token_shares(
    store: TokenStore, weights: Mapping[str, float] | None = None
) -> dict[str, float] | None:
    """Return each source's share of the tokens of an epoch; None: every document exactly once.

    Args:
        store: the token store; its own weights are used where `weights` is None.
        weights: source name -> weight, relative to each other; 0 leaves a source out.

    Raises:
        ConfigError: a name is unknown, a source has no weight, or no weight is positive.
    """
    names = [source.name for source in store.sources]
    if weights is None:
        given = {s.name: s.weight for s in store.sources if s.weight is not None}
        if not given:
            return None
        weights = given
    for name in weights:
        if name not in names:
            raise ConfigError(
                f"weights: the store {store.path} has no source {name!r}",
                why=f"its sources: {', '.join(names)}",
                fix=did_you_mean(name, names),
            )
    missing = [name for name in names if name not in weights]
    if missing:
        raise ConfigError(
            f"weights: no weight for source {missing[0]!r}",
            why="where one source has a weight, all need one: shares are relative to each other",
            fix=f"add {missing[0]}: 1.0 (0 leaves it out), or take all weights away",
        )
    total = sum(
        weight for name, weight in weights.items() if store.sources[names.index(name)].tokens
    )
    if min(weights.values()) < 0 or total <= 0:
        raise ConfigError(
            f"weights: {dict(weights)} gives no source with text a positive share",
            fix="give at least one source a weight above 0",
        )
    return {
        s.name: weights[s.name] / total if s.tokens else 0.0 for s in store.sources
    }  # a source without text cannot have a share
