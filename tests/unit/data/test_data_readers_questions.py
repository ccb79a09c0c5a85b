"""Questions of the public benchmarks' files and of our own."""

import pytest

from hanlin.core.errors import InputError
from hanlin.core.records import Question
from hanlin.data.readers import BadRows, read_questions


def test_our_own_json_lines(write):
    row = {"id": "q1", "question": "谁写了它？", "options": ["甲", "乙"], "answer": 1,
           "subject": "books", "language": "zh"}  # fmt: skip
    assert list(read_questions(write("q.jsonl", [row]))) == [
        Question("q1", "谁写了它？", ("甲", "乙"), 1, "books", "zh")
    ]


def test_ceval(write):
    path = write(
        "law_dev.csv",
        "id,question,A,B,C,D,answer,explanation\n"
        '0,"法律, 规定____。",甲,乙,丙,丁,B,"1. 因为\n2. 所以"\n'
        "1,第二题,甲,乙,丙,丁,,\n",
    )
    assert list(read_questions(path)) == [
        Question(
            "law-0",
            "法律, 规定____。",
            ("甲", "乙", "丙", "丁"),
            1,
            "law",
            "zh",
            explanation="1. 因为\n2. 所以",
        ),
        Question("law-1", "第二题", ("甲", "乙", "丙", "丁"), None, "law", "zh"),
    ]


def test_cmmlu(write):
    path = write("agronomy.csv", ",Question,A,B,C,D,Answer\n0,问题？,36°C,37.8°C,Ａ,丁,D\n")
    assert list(read_questions(path)) == [
        Question("agronomy-0", "问题？", ("36°C", "37.8°C", "Ａ", "丁"), 3, "agronomy", "zh")
    ]


def test_mmlu_has_no_header(write):
    path = write(
        "abstract_algebra_test.csv",
        '"Find the degree, over Q.",0,4,2,6,B\n"Two\nlines?","0,1",b,c,d,A\n\nLast?,a,b,c,d,d\n',
    )
    found = list(read_questions(path))
    assert [q.id for q in found] == [f"abstract_algebra-{n}" for n in (1, 2, 5)]
    assert [q.answer for q in found] == [1, 0, 3]
    assert found[1].question == "Two\nlines?"
    assert found[1].options == ("0,1", "b", "c", "d")
    assert {q.language for q in found} == {"en"}


def test_a_folder_has_a_subject_in_each_file(write, tmp_path):
    for name in ("b_val.csv", "a_val.csv"):
        write(f"val/{name}", "id,question,A,B,answer\n0,x,1,2,A\n")
    assert [q.subject for q in read_questions(tmp_path / "val")] == ["a", "b"]


def test_other_json_shapes(write):
    rows = [
        {"question": "x", "options": "甲\n乙\n丙", "answer": "丙", "labels": ["历史学"]},
        {"id": 7, "question": "y", "A": "1", "B": "2", "C": "3", "D": "4", "answer": "C"},
        {"question": "z", "options": ["a", "b"], "answer": ""},
    ]
    found = list(read_questions(write("Math-College.jsonl", rows)))
    assert [(q.subject, q.answer, len(q.options)) for q in found] == [
        ("历史学", 2, 3), ("Math-College", 2, 4), ("Math-College", None, 2),
    ]  # fmt: skip
    assert [q.id for q in found] == ["历史学-1", "Math-College-7", "Math-College-3"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,x,1,2,E", "the answer 'E' is none of the 2 options"),
        ("1,x,1,A", "4 cells, expected 5: id, question, a, b, answer"),
        ("1, ,1,2,A", "no question in it"),
    ],
)
def test_bad_rows_of_a_csv_file(write, line, reason):
    bad = BadRows(max_share=1)
    path = write("s.csv", f"id,question,A,B,answer\n0,x,1,2,A\n{line}\n")
    assert len(list(read_questions(path, bad=bad))) == 1
    assert [(r.line, r.reason) for r in bad.rows] == [(3, reason)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "x", "options": ["a", "b"], "answer": 2}, "the answer 2 is none of the 2"),
        ({"question": "x", "options": ["a"], "answer": 0}, "1 options, a choice needs two"),
        ({"question": "x", "options": [["a"], "b"]}, "options are not a list of texts"),
        ({"question": "x"}, "0 options"),
        ({"text": "x"}, "no question in it"),
        ("x", "expected an object, found str"),
    ],
)
def test_bad_rows_of_a_json_file(write, row, reason):
    bad = BadRows(max_share=1)
    good = {"question": "x", "options": ["a", "b"], "answer": 0}
    assert len(list(read_questions(write("q.jsonl", [good, row]), bad=bad))) == 1
    assert [(r.line, r.reason[: len(reason)]) for r in bad.rows] == [(2, reason)]


def test_a_csv_file_in_another_encoding_is_explained(write):
    path = write("a.csv", "id,question,A,B,answer\n0,问,甲,乙,A\n".encode("gb18030"))
    with pytest.raises(InputError) as caught:
        list(read_questions(path))
    assert f"{path} is not a readable CSV file" in str(caught.value)
    assert "iconv" in caught.value.fix


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "rows", "subjects", "language"),
    [
        ("ceval/dev", 130, 26, "zh"), ("ceval/val", 688, 26, "zh"), ("cmmlu/dev", 170, 34, "zh"),
        ("cmmlu/test", 5664, 34, "zh"), ("mmlu/dev", 145, 29, "en"), ("mmlu/test", 7658, 29, "en"),
        ("m3ke/dev", 180, 36, "zh"), ("m3ke/test_unlabelled", 910, 4, "zh"),
        ("xiezhi/xiezhi_train_eng.jsonl", 1239, None, "en"),
    ],
)  # fmt: skip
def test_public_questions(real_data, folder, rows, subjects, language):
    bad = BadRows()
    found = list(read_questions(real_data / "eval" / folder, bad=bad))
    assert (len(found), bad.bad) == (rows, 0)
    assert len({q.id for q in found}) == rows
    assert subjects is None or len({q.subject for q in found}) == subjects
    languages = [q.language for q in found]
    assert languages.count(language) > 0.9 * rows
