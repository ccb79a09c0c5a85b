"""Whatever is scored: each request is in one tree, on its own path, and sees only its own past."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hanlin.inference.prefix import fold

tokens = st.integers(0, 3)
requests = st.lists(
    st.tuples(st.lists(tokens, min_size=1, max_size=8), st.lists(tokens, max_size=5)), max_size=12
)


@given(requests)
def test_every_scored_token_follows_exactly_its_own_sequence(given_requests):
    scored = {index: [] for index in range(len(given_requests))}
    for tree in fold(given_requests):
        mask = tree.mask()
        assert mask.shape == (len(tree.ids), len(tree.ids))
        for node, token, request in tree.targets:
            seen = np.flatnonzero(mask[node])  # a node sees itself and its ancestors
            assert [tree.depths[other] for other in seen] == list(range(len(seen)))
            scored[request].append(([tree.ids[other] for other in seen], token))
    for index, (prefix, continuation) in enumerate(given_requests):
        whole = [*prefix, *continuation]
        expected = [(whole[:i], whole[i]) for i in range(len(prefix), len(whole))]
        assert sorted(scored[index], key=lambda pair: len(pair[0])) == expected


@given(requests)
def test_no_sequence_of_tokens_is_computed_twice_in_a_tree(given_requests):
    for tree in fold(given_requests):
        mask = tree.mask()
        paths = [tuple(tree.ids[other] for other in np.flatnonzero(row)) for row in mask]
        assert len(set(paths)) == len(paths)
