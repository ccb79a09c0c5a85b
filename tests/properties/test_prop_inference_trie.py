"""Whatever is scored: each request is in the trie, on its own path, and nothing is in it twice."""

from hypothesis import given
from hypothesis import strategies as st

from hanlin.inference.trie import build, steps

tokens = st.integers(0, 3)
requests = st.lists(
    st.tuples(st.lists(tokens, min_size=1, max_size=8), st.lists(tokens, max_size=5)), max_size=12
)
max_segments = st.integers(1, 6)


def path(trie, number, depth):
    """Return the tokens from the root to a depth inside a segment, by way of its parents."""
    segment = trie.segments[number]
    above = [] if segment.parent < 0 else path(trie, segment.parent, segment.start - 1)
    return [*above, *trie.ids(segment)[: depth - segment.start + 1].tolist()]


@given(requests, max_segments)
def test_every_scored_token_follows_exactly_its_own_sequence(given_requests, max_segment):
    trie = build(given_requests, max_segment=max_segment)
    scored = {index: [] for index in range(len(given_requests))}
    for number, segment in enumerate(trie.segments):
        for depth, token, request in trie.targets(segment):
            scored[request].append((path(trie, number, depth), token))
    for index, (prefix, continuation) in enumerate(given_requests):
        whole = [*prefix, *continuation]
        expected = [(whole[:i], whole[i]) for i in range(len(prefix), len(whole))]
        assert sorted(scored[index], key=lambda pair: len(pair[0])) == expected


@given(requests, max_segments)
def test_no_beginning_is_in_the_trie_twice(given_requests, max_segment):
    trie = build(given_requests, max_segment=max_segment)
    paths = [
        tuple(path(trie, number, depth))
        for number, segment in enumerate(trie.segments)
        for depth in range(segment.start, segment.end)
    ]
    wholes = [[*prefix, *rest][:-1] for prefix, rest in given_requests if rest]
    beginnings = {tuple(whole[:i]) for whole in wholes for i in range(1, len(whole) + 1)}
    assert sorted(paths) == sorted(beginnings)
    assert trie.num_tokens == len(beginnings)


@given(requests, max_segments, st.integers(1, 20))
def test_each_segment_is_computed_once_and_after_its_parent(given_requests, max_segment, budget):
    trie = build(given_requests, max_segment=max_segment)
    done = []
    for step in steps(trie, max_tokens=budget):
        for number in step.segments:
            parent = trie.segments[number].parent
            assert parent < 0 or parent in done
            done.append(number)
    assert sorted(done) == list(range(len(trie.segments)))
