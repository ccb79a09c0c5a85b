"""The prompts of named protocols, word for word, on files in the published layouts."""

import json
import types

import pytest

from exam_world import Oracle, World
from hanlin.core.errors import ConfigError, InputError
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.benchmarks import BENCHMARKS
from hanlin.evaluation.protocol import prompt_text
from hanlin.evaluation.run import run_benchmark
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format
from hanlin.tokenization.load import load

EXAMPLE = """{'passage': '甲。', 'question': '例？', 'options': ['(A)一', '(B)二'], 'label': 'B'}"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    world = World(folder, place=1)
    world.write_all()
    return folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return types.SimpleNamespace(tokenizer=load(make_tiny(tmp_path_factory.mktemp("tiny"))))


def made(benchmark, data, **settings):
    config = BenchmarkConfig(id=benchmark, benchmark=benchmark, data=str(data), **settings)
    subject = Subject("m", None, get_format("plain"))
    return BENCHMARKS.get(benchmark).paper(config, subject, 0)


def prompt(benchmark, data, number=0, **settings):
    paper, protocol = made(benchmark, data, **settings)
    question = paper.questions[number]
    return prompt_text(question, paper.shots(question), protocol), protocol


def options(tag, mark="{}. "):
    words = ("河流", "高山", "大海", "湖泊")
    return [mark.format(a) + w + tag for a, w in zip("ABCD", words, strict=True)]


def test_opencompass_repeats_its_introduction_in_ceval(world):
    text, protocol = prompt("ceval", world / "ceval", protocol="opencompass", shots=1)
    subject = "高等数学"
    intro = f"以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。\n"
    tags = [f"ceval{split}advanced_mathematics0" for split in ("dev", "val")]
    blocks = [intro + f"{tag}里，哪一个是对的？\n" + "\n".join(options(tag)) for tag in tags]
    assert text == f"{blocks[0]}\n答案: \nB\n{blocks[1]}\n答案: "
    assert (protocol.layout.space, protocol.average) == ("\n", "macro")


def test_opencompass_in_cmmlu_and_mmlu(world):
    text, protocol = prompt("cmmlu", world / "cmmlu", protocol="opencompass", shots=0)
    tag = "cmmlutestagronomy0"
    assert text == (
        "以下是关于农学的单项选择题，请直接给出正确答案的选项。\n"
        f"题目：{tag}里，哪一个是对的？\n" + "\n".join(options(tag)) + "\n答案是:"
    )
    assert protocol.layout.space == " "
    text, _ = prompt("mmlu", world / "mmlu", protocol="opencompass", shots=1)
    head = "The following are multiple choice questions (with answers) about  anatomy.\n\n"
    assert text.startswith(head + "In mmludevanatomy0, which is right?\nA. ")
    assert "\nAnswer: B\nIn mmlutestanatomy0" in text
    with pytest.raises(ConfigError, match="opencompass is not known for m3ke"):
        prompt("m3ke", world / "m3ke", protocol="opencompass")


def test_explanations_of_ceval_stand_in_chains_of_thought(world):
    text, _ = prompt("ceval", world / "ceval", protocol="official", scorer="cot", shots=1)
    assert "答案：让我们一步一步思考，\n1. 第一步，看题。\n2. 第二步。\n所以答案是B。\n\n" in text
    assert text.endswith("答案：让我们一步一步思考，\n1.")


def test_agieval_as_its_authors_ask(world, tmp_path):
    text, _ = prompt("agieval", world / "agieval", number=1)
    marked = " ".join(options("agi1", "({})"))
    question = f"agi1里，哪一个是对的？ 选项：{marked}"
    assert text == f"文章1。问题：{question}\n答案：从A到D, 我们应选择"
    folder = tmp_path / "agieval"
    folder.mkdir()
    for file in (world / "agieval").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    rows = [["", "gaokao-history"], ["sample 1", EXAMPLE], ["explanation 1", "因为二。"]]
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    (folder / "few_shot_prompts.csv").write_text("\n".join(lines))
    text, protocol = prompt("agieval", folder, number=1, shots=1)
    assert text == (
        "以下是考试中各个问题的答案。\n"
        "问题 1.   甲。 例？\n从以下选项中选择:    (A)一 (B)二\n答案是 B\n\n"
        f"问题 2.   文章1。 agi1里，哪一个是对的？\n从以下选项中选择:    {marked}\n答案是"
    )
    assert protocol.layout.space == " "
    text, _ = prompt("agieval", folder, number=1, shots=1, scorer="cot")
    assert "因为二。\n所以答案是B。" in text
    paper, _ = made("agieval", folder, shots=1)
    assert paper.notes["examples"] == "few_shot_prompts.csv"
    paper, _ = made("agieval", world / "agieval", shots=1)
    assert paper.notes["examples"] == "other questions of the same exam"
    (folder / "few_shot_prompts.csv").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="not a readable CSV file"):
        made("agieval", folder, shots=1)


def test_options_of_agieval_in_one_text_are_told_apart(tmp_path):
    row = {"passage": None, "question": "问？", "options": ["A. 甲\tB. 乙\r\nC. 丙\tD. 丁\r"],
           "label": "C"}  # fmt: skip
    (tmp_path / "gaokao-geography.jsonl").write_text(json.dumps(row))
    paper, _ = made("agieval", tmp_path)
    assert paper.questions[0].options == ("甲", "乙", "丙", "丁")
    assert paper.questions[0].answer == 2


@pytest.mark.parametrize("language", ["zh", "en"])
def test_xiezhi_says_what_examples_are(world, language):
    text, _ = prompt("xiezhi", world / "xiezhi", language=language, shots=1)
    assert "Demonstration" in text.partition("\n\n")[0]
    assert "\n\nDemonstation 0:\n### " in text and "\n\nQuestion:\n### " in text
    text, _ = prompt("xiezhi", world / "xiezhi", language=language)
    assert "Demonstration" not in text
    begins = {"zh": "下面请你作为一个答题者", "en": "Below you will be asked to answer"}
    assert text.startswith(begins[language])


def test_cmmlu_tells_its_china_specific_subjects_apart(world, engine):
    oracle = Oracle(engine, World(world, place=1).write("cmmlu"))
    config = BenchmarkConfig(id="c", benchmark="cmmlu", data=str(world / "cmmlu"), shots=0)
    result = run_benchmark(config, Subject("m", oracle, get_format("plain")), seed=0)
    measures = {m.metric: m.estimate for m in result.measures}
    assert measures["accuracy_china"].n == 6  # ancient_chinese, and neither of the others
    assert "accuracy_hard" not in measures


def test_answers_for_m3ke_carry_the_ids_of_its_rows(world, engine):
    from hanlin.evaluation.submission import predict

    oracle = Oracle(engine, World(world, place=1).write("m3ke"))
    config = BenchmarkConfig(id="m", benchmark="m3ke", data=str(world / "m3ke"), shots=0)
    found = predict(config, Subject("m", oracle, get_format("plain")), seed=0)
    assert found["Novels-Other-Other"] == {str(n): "B" for n in range(6)}


def test_a_data_set_of_the_hub_in_parquet(tmp_path, engine):
    pyarrow = pytest.importorskip("pyarrow", reason="extra data")
    parquet = pytest.importorskip("pyarrow.parquet", reason="extra data")
    for split, count in (("dev", 2), ("validation", 3)):
        rows = [{"question": f"q{n}", "subject": "anatomy", "choices": list("wxyz"), "answer": n}
                for n in range(count)]  # fmt: skip
        (tmp_path / "anatomy").mkdir(exist_ok=True)
        file = tmp_path / "anatomy" / f"{split}-00000-of-00001.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    paper, _ = made("mmlu", tmp_path, split="val", shots=2)
    assert [(q.subject, q.options, q.answer) for q in paper.questions] == [
        ("anatomy", tuple("wxyz"), n) for n in range(3)
    ]
    assert len(paper.shots(paper.questions[0])) == 2
    with pytest.raises(InputError, match="has no folder 'test'"):
        made("mmlu", tmp_path)


def test_a_hub_id_without_a_connection_is_explained():
    with pytest.raises(InputError, match="neither here nor a data set that can be fetched"):
        made("ceval", "owner/not-there")


def test_exams_of_agieval_are_asked_in_their_own_language(tmp_path):
    for name, text in (("aqua-rat", "How many?"), ("gaokao-history", "哪一个？")):
        rows = [{"passage": None, "question": f"{text}{n}", "options": ["(A)x", "(B)y"],
                 "label": "A"} for n in range(2)]  # fmt: skip
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    text, _ = prompt("agieval", tmp_path, number=0, shots=1)
    assert text.startswith("Here are the answers for the problems in the exam.\nProblem 1.   ")
    text, _ = prompt("agieval", tmp_path, number=2, shots=1)
    assert text.startswith("以下是考试中各个问题的答案。\n问题 1.   ")
