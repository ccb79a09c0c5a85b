import pytest

from hanlin.text.script import main_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("河流穿过古城。", "Han"),
        ("The river, 1912!", "Latin"),
        ("Über Straßen", "Latin"),
        ("ＡＢＣ", "Latin"),
        ("河流 is a river of the North", "Latin"),
        ("使用 Python 语言编写程序的方法", "Han"),
        ("川は古い町を流れている。", "Kana"),
        ("ｶﾀｶﾅ", "Kana"),
        ("本书作者是青木の小町，讲述了一个关于北方古城和老师的故事", "Han"),
        ("강은 도시를 흐른다", "Hangul"),
        ("Река течёт", "Cyrillic"),
        ("النهر", "Arabic"),
        ("नदी", "Devanagari"),
        ("123 … 🙂", "none"),
        ("", "none"),
    ],
)
def test_the_script_of_most_letters(text, script):
    assert main_script(text) == script
