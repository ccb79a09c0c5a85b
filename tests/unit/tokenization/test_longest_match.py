import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.tokenization import sentencepiece
from hanlin.tokenization.longest_match import formed, longest_matches, pattern, way_to

words = st.text(alphabet="abcd", min_size=2, max_size=6)


def model_of(pieces):
    model = sentencepiece.empty_model()
    model.trainer_spec.model_type = sentencepiece.BPE
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    model.pieces.add(piece="<unk>", score=0.0, type=2)
    for piece in [*"abcd", *sorted(pieces)]:
        model.pieces.add(piece=piece, score=0.0, type=1)
    return model


def test_a_piece_needs_its_beginnings_or_ends():
    assert formed({"ab", "abc", "bcd", "cd"}) == {"ab", "abc", "cd", "bcd"}
    assert formed({"abc"}) == set()


def test_the_way_is_the_leftmost_one():
    equal = {"ab", "cd", "abcd", "abc"}
    assert way_to("abcd", equal, formed(equal)) == [("a", "b"), ("ab", "c"), ("abc", "d")]
    assert way_to("abcd", {"ab", "cd", "abcd"}, {"ab", "cd"}) == [
        ("a", "b"), ("c", "d"), ("ab", "cd"),
    ]  # fmt: skip
    assert way_to("dcba", equal, formed(equal)) is None


@settings(max_examples=300, deadline=None)
@given(pieces=st.sets(words, max_size=12), text=st.text(alphabet="abcd", min_size=1, max_size=30))
def test_sentencepiece_takes_the_longest_formed_piece_where_scores_are_equal(pieces, text):
    taken = formed(pieces)
    longest = max(map(len, taken), default=1)
    cut = list(longest_matches(text, taken, longest=longest))
    assert cut == sentencepiece.processor(model_of(pieces)).encode(text, out_type=str)


@pytest.mark.parametrize("flags", [0, re.UNICODE])
@given(pieces=st.sets(words, min_size=1, max_size=30), text=st.text(alphabet="abcd", max_size=30))
def test_the_pattern_matches_the_longest_pieces(pieces, text, flags):
    longest = max(map(len, pieces))
    expected = [p for p in longest_matches(text, pieces, longest=longest) if len(p) > 1]
    assert re.findall(pattern(pieces), text, flags=flags) == expected


def test_signs_of_the_pattern_language_are_letters():
    pieces = {".*", "[a]", "^$", "(?:x", "a|b", "{2}", "\\d", "--", "]-[", "a-z"}
    text = "".join(sorted(pieces))
    assert "".join(re.findall(pattern(pieces), text)) == text
    assert re.findall(pattern(pieces), "xx aa dd zz 22") == []


def test_many_branches_are_halved():
    pieces = {chr(0x4E00 + i) + "人" for i in range(1000)}
    assert pattern(pieces).count("(?=") > 200
    assert all(re.fullmatch(pattern(pieces), piece) for piece in pieces)
    assert not re.search(pattern(pieces), "\u4dff人\u5400人")
