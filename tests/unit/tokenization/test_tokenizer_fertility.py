import pytest

from hanlin.tokenization.fertility import Fertility, measure


def test_counts_of_known_texts(base):
    found = measure(base, ["the", "河", ""])
    assert (found.characters, found.bytes) == (4, 6)
    assert found.byte_fallback_tokens == 3
    assert found.tokens == len(base.encode("the", at_start=True)) + 4  # a space and three bytes
    assert found.tokens_per_character == pytest.approx(found.tokens / 4)
    assert found.byte_fallback_bytes == 3
    assert found.bytes_fallen_back_share == pytest.approx(3 / 6)
    assert found.bytes_per_token == pytest.approx(6 / found.tokens)
    assert found.characters_per_token == pytest.approx(4 / found.tokens)
    assert found.byte_fallback_share == pytest.approx(3 / found.tokens)


def test_no_text_gives_zeros(base):
    found = measure(base, [])
    assert found == Fertility()
    assert found.as_dict() == {
        "characters": 0, "bytes": 0, "tokens": 0,
        "tokens_per_character": 0.0, "characters_per_token": 0.0, "bytes_per_token": 0.0,
        "byte_fallback_share": 0.0, "bytes_fallen_back_share": 0.0,
    }  # fmt: skip


def test_two_measurements_add_up(base, english, chinese):
    both = measure(base, [*english, *chinese])
    assert measure(base, english) + measure(base, chinese) == both
