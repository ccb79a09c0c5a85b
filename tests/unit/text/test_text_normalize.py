"""Are widths folded character by character, and is it known who writes with spaces?"""

import pytest

from hanlin.text.normalize import fold_width
from hanlin.text.script import has_word_spaces


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＡＢＣ１２３", "ABC123"),
        ("王　明（甲）", "王 明(甲)"),
        ("：；，！", ":;,!"),
        ("ｱｲｳ", "アイウ"),
        ("ﬁ ² ㈱ 🙂 中文", "ﬁ ² ㈱ 🙂 中文"),
        ("", ""),
    ],
)
def test_only_widths_are_folded(text, folded):
    assert fold_width(text) == folded


@pytest.mark.parametrize(
    ("language", "spaced"),
    [
        ("en", True),
        ("de", True),
        ("zh", False),
        ("zh-Hant", False),
        ("ZH_CN", False),
        ("ja", False),
    ],
)
def test_languages_without_word_spaces_are_known(language, spaced):
    assert has_word_spaces(language) is spaced
