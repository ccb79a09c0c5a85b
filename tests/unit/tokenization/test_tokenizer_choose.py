import pytest

from hanlin.core.errors import InputError
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.choose import choose_pieces
from hanlin.tokenization.foreign import is_one_word, is_other_script
from hanlin.tokenization.sentencepiece_extend import Rules, extend_from_corpus


def is_chinese(text):
    return any(map(is_other_script, text)) and is_one_word(text)


@pytest.fixture(scope="module")
def model(base):
    return sentencepiece.parse_model(base.spm_model, name="base")


def count(model, pieces, lines):
    return sum(
        map(len, sentencepiece.processor(sentencepiece.appended(model, pieces)).encode(lines))
    )


def test_the_best_pieces_of_a_small_corpus(model):
    lines = ["河流河流河流"] * 4 + ["古城"] * 3 + ["罕"]
    assert choose_pieces(model, lines, add=2, may_add=is_chinese) == ["河", "流"]
    assert set(choose_pieces(model, lines, add=3, may_add=is_chinese)) == {"河", "流", "河流"}
    chosen = choose_pieces(model, lines, add=99, may_add=is_chinese)
    assert {"河流", "河流河流", "古城"} <= set(chosen)
    assert all(set(text) <= set(chosen) for text in chosen)  # a piece needs its characters


def test_every_chosen_piece_is_made_from_its_text(model, chinese):
    chosen = choose_pieces(model, chinese, add=40, may_add=is_chinese)
    processor = sentencepiece.processor(sentencepiece.appended(model, chosen), dummy_prefix=False)
    assert len(chosen) == len(set(chosen)) == 40
    assert [processor.encode(text, out_type=str) for text in chosen] == [[text] for text in chosen]


def test_more_pieces_need_fewer_tokens(model, chinese):
    sizes = [choose_pieces(model, chinese, add=add, may_add=is_chinese) for add in (10, 30, 60)]
    tokens = [count(model, pieces, chinese) for pieces in [[], *sizes]]
    assert tokens == sorted(tokens, reverse=True) and len(set(tokens)) == 4


def test_a_useless_step_is_taken_back(model):
    """Once 一二三四 is a piece nothing is left for 三四, nor for 一二 but to lead to it."""
    chosen = choose_pieces(model, ["一二三四"] * 50, add=99, may_add=is_chinese)
    assert "一二三四" in chosen
    assert len(chosen) <= 4 + 3


def test_what_may_be_added_is_asked(model, chinese):
    chosen = choose_pieces(model, chinese, add=99, may_add=lambda text: text in {"河", "流", "古"})
    assert sorted(chosen) == ["古", "河", "流"]


def test_one_word():
    for text in ("河流", " 河", "，。", "река", "……"):
        assert is_one_word(text), text
    for text in ("，河", "a1", "2", "河 流", "河。", "", " ", "  "):
        assert not is_one_word(text), text


def test_pieces_of_signs_and_words_only_if_asked_for(base):
    lines = ["河流，河流，河流，"] * 9
    whole = extend_from_corpus(base, lines, rules=Rules(limit=9))
    mixed = extend_from_corpus(base, lines, rules=Rules(limit=9, whole_words=False))
    assert all(map(is_one_word, whole.added))
    assert any("，" in text and "河" in text for text in mixed.added)


def test_only_pieces_of_another_model_if_asked_for(base, chinese):
    within = {"河", "流", "河流", "古城", "没"}
    made = extend_from_corpus(base, chinese, rules=Rules(limit=9), within=within)
    assert set(made.added) == {"河", "流", "河流"}  # of 古城 the characters are missing


def test_control_texts_are_kept(base, chinese):
    rules = Rules(limit=99, control=["河 the river 河 the river"])
    assert not any("河" in text and "流" not in text for text in
                   extend_from_corpus(base, chinese, rules=rules).added)  # fmt: skip


def test_ids_of_the_base_language_may_change_if_asked_for(base):
    lines = ["the lantern of the lantern"] * 9
    with pytest.raises(InputError, match="not one of the offered pieces can be added"):
        extend_from_corpus(base, lines, rules=Rules(limit=5))
    made = extend_from_corpus(base, lines, rules=Rules(limit=5, allow_changed=True))
    assert made.added
