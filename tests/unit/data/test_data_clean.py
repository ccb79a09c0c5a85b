"""Tidy texts, and a count of whatever is left out."""

from hanlin.core.records import Document
from hanlin.data.corpus.clean import Dropped, clean, tidy


def test_newlines_and_outer_white_space():
    assert tidy("\ufeff　　第一回\r\n\r\n  甲 \r乙\t\n\n") == "第一回\n\n  甲\n乙"
    assert tidy("a  b\tc") == "a  b\tc"
    assert tidy(" \r\n　") == ""


def test_what_is_left_out_is_counted():
    dropped = Dropped()
    rows = ["你好世界", " ", "短", "你好世界\r\n", "", "Hello 🙂", "你好，世界"]
    kept = clean((Document(row, "zh", "f", n) for n, row in enumerate(rows, 1)), dropped=dropped,
                 min_characters=2)  # fmt: skip
    assert [(d.text, d.line) for d in kept] == [("你好世界", 1), ("Hello 🙂", 6), ("你好，世界", 7)]
    assert dropped == Dropped(empty=2, short=1, duplicate=1)


def test_duplicates_may_stay():
    dropped = Dropped()
    rows = [Document("a"), Document("a")]
    assert len(list(clean(rows, dropped=dropped, drop_duplicates=False))) == 2
    assert dropped == Dropped()


def test_a_lone_surrogate_does_not_stop_it():
    assert [d.text for d in clean([Document("a\ud800")], dropped=Dropped())] == ["a\ud800"]
