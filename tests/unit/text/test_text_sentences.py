"""Sentences are a partition of the text and end where a reader would say."""

import pytest

from hanlin.text.sentences import find_borders, sentences


def cut(text):
    return [text[span.start : span.end] for span in sentences(text)]


@pytest.mark.parametrize(
    "parts",
    [
        ["他来了。", "你呢？！", "走吧……真的！"],
        ["他说：“我不知道。你呢？”", "她笑了。", "“走吧！”\n", "　　第二段。"],
        ['"你好。"', "他说。", '"走吧。"'],
        ["第一回\n", "甄士隐梦幻识通灵\n\n", "话说．", "从前"],
        ["床前明月光，\n疑是地上霜。\n", "举头望明月，\n低头思故乡。"],
        ["GDP是3.14万.", "增长（见表1。共3条）了。", "完"],
        ["Dr. Smith went to the U.S. Army.", ' "Stop!" he said.', " He paid $3.50, i.e. too much."],
        ["Is it?", "  Yes.", " See http://a.b/c?d=e for J. K. Rowling."],
        ["The line was only\ntoo long.\n", "Title\n", "1. First"],
        ["Wait...", " What?", " (It was late.)", " She said “no.”", " Then nothing."],
        ["他说 Hello.", " 然后走了。", "Bye!", "再见"],
        ["🙂！", "好"],
        ["！"],
        ["no end"],
    ],
)
def test_where_sentences_end(parts):
    assert cut("".join(parts)) == parts


def test_nothing_has_no_sentences():
    assert sentences("") == [] and find_borders("").clauses.tolist() == []


def test_a_long_quotation_is_cut():
    assert len(cut("“" + "我不知道。" * 30 + "”")) == 30
    assert len(cut("“" + "我不知道。" * 10 + "”")) == 1


def test_clauses():
    text = "老师说，“山、河，”和城：a,b, c; d。" + "——完"
    ends = find_borders(text).clauses.tolist()
    parts = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert parts == ["老师说，", "“山、", "河，”和城：", "a,b,", " c;", " d。——", "完"]
