"""A Chinese page shows the code of its English page: block for block, comments aside."""

import pytest

from book_blocks import blocks_of, essence, translations


@pytest.mark.parametrize(
    ("chinese", "english"), translations(), ids=[page.name for page, _ in translations()]
)
def test_a_chinese_page_has_the_english_code(chinese, english):
    own, original = blocks_of(chinese), blocks_of(english)
    if chinese.name == "README.zh-CN.md":  # shorter: it leaves some out
        original = [block for block in original if essence(block) in map(essence, own)]
    assert [block.language for block in own] == [block.language for block in original]
    for block, wanted in zip(own, original, strict=True):
        assert essence(block) == essence(wanted), f"{block.place} is not {wanted.place}"
