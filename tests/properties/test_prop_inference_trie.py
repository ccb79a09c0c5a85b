"""Whatever is scored: each request is in the trie, on its own path, and nothing is in it twice."""

from hypothesis import given
from hypothesis import strategies as st

from hanlin.inference.trie import above, build, cut

tokens = st.integers(0, 3)
requests = st.lists(
    st.tuples(st.lists(tokens, min_size=1, max_size=8), st.lists(tokens, max_size=5)), max_size=12
)
sizes = st.integers(1, 20)


def paths(trie):
    """Return for each segment the tokens from the root to its end, by the walk alone."""
    if not trie.segments:
        return []
    column_ids = [token for segment in trie.segments for token in trie.ids(segment).tolist()]
    return [
        [*(column_ids[column] for column in columns), *trie.ids(segment).tolist()]
        for segment, columns in zip(trie.segments, above(trie.segments), strict=True)
    ]


@given(requests)
def test_every_scored_token_follows_exactly_its_own_sequence(given_requests):
    trie = build(given_requests)
    scored = {index: [] for index in range(len(given_requests))}
    for segment, path in zip(trie.segments, paths(trie), strict=True):
        for depth, token, request in trie.targets(segment):
            scored[request].append((path[: depth + 1], token))
    for index, (prefix, continuation) in enumerate(given_requests):
        whole = [*prefix, *continuation]
        expected = [(whole[:i], whole[i]) for i in range(len(prefix), len(whole))]
        assert sorted(scored[index], key=lambda pair: len(pair[0])) == expected


@given(requests)
def test_no_beginning_is_in_the_trie_twice(given_requests):
    trie = build(given_requests)
    found = [
        tuple(path[: depth + 1])
        for segment, path in zip(trie.segments, paths(trie), strict=True)
        for depth in range(segment.start, segment.end)
    ]
    wholes = [[*prefix, *rest][:-1] for prefix, rest in given_requests if rest]
    beginnings = {tuple(whole[:i]) for whole in wholes for i in range(1, len(whole) + 1)}
    assert sorted(found) == sorted(beginnings)
    assert trie.num_tokens == len(beginnings)


@given(requests, sizes)
def test_stretches_are_full_and_together_the_whole_walk(given_requests, size):
    trie = build(given_requests)
    walk = [(s.low, depth) for s in trie.segments for depth in range(s.start, s.end)]
    stretches = list(cut(trie.segments, max_tokens=size))
    found = [[(s.low, depth) for s in row for depth in range(s.start, s.end)] for row in stretches]
    assert [token for row in found for token in row] == walk
    assert all(len(row) == size for row in found[:-1])


@given(requests, sizes)
def test_the_path_to_a_stretch_is_in_the_path_before_it_and_the_stretch_before(
    given_requests, size
):
    trie = build(given_requests)
    held = []  # what a cache holds: the path to the stretch, then the stretch
    before = None
    for row in cut(trie.segments, max_tokens=size):
        if before:
            *_, columns = above([*before, row[0]])
            held = [held[column] for column in columns]
        expected = trie.sequences[row[0].low][: row[0].start].tolist()
        assert held == expected
        for segment, columns in zip(row, above(row), strict=True):
            path = trie.sequences[segment.low][: segment.start].tolist()
            assert [held[column] for column in columns] == path
            held = [*held, *trie.ids(segment).tolist()]
        before = row
