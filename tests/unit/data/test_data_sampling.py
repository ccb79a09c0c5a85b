"""Chosen rows are the rows of the input, as many as wanted, and cover much of it."""

import gzip
import json
from pathlib import Path

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.data.sampling.sample import Settings, sample

TOPICS = [
    "潮汐与月亮的引力",
    "唐代的科举制度",
    "面包的发酵过程",
    "光合作用怎样进行",
    "排序算法的复杂度",
]
WORDS = [
    "tide", "moon", "gravity", "exam", "court", "bread", "yeast", "leaf", "light", "sort", "heap",
    "river", "stone", "cloud", "music",
]  # fmt: skip


def rows(count: int = 60) -> list[dict[str, object]]:
    """Return different instruction rows with fields that only their owner knows."""
    return [
        {
            "instruction": f"{TOPICS[n % 5]}，{n}：{chr(0x4E00 + 37 * n)}{chr(0x5E00 + 41 * n)}",
            "input": "",
            "output": " ".join(WORDS[(n * k) % 15] for k in range(1, 3 + n % 9)) + f" end{n // 2}",
            "id": n,
            "score": 0.1 * n,
        }
        for n in range(count)
    ]


def write(path: Path, values: list, *, as_list: bool = False) -> Path:
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    path.write_text("[\n" + ",\n".join(lines) + "\n]" if as_list else "\n".join(lines) + "\n")
    return path


def read(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("as_list", [False, True])
def test_rows_are_written_unchanged_and_in_their_order(tmp_path, as_list):
    source = write(tmp_path / "in.json", rows(), as_list=as_list)
    found = sample([source], tmp_path / "out.jsonl", Settings(n=12))
    chosen = read(tmp_path / "out.jsonl")
    assert found.chosen == len(chosen) == 12
    assert all(row in rows() for row in chosen)
    assert [row["id"] for row in chosen] == sorted(row["id"] for row in chosen)
    assert [list(row) for row in chosen] == [["instruction", "input", "output", "id", "score"]] * 12


def test_the_seed_alone_decides_not_the_number_of_processes(tmp_path):
    source = write(tmp_path / "in.jsonl", rows(200))
    outs = []
    for number, (seed, workers) in enumerate([(0, 1), (0, 2), (1, 1)]):
        settings = Settings(n=30, seed=seed, workers=workers)
        sample([source], tmp_path / f"{number}.jsonl", settings)
        outs.append((tmp_path / f"{number}.jsonl").read_bytes())
    assert outs[0] == outs[1]
    assert len(outs[2].splitlines()) == 30


def test_more_is_covered_than_by_rows_at_random(tmp_path):
    common = [{"text": f"all of these rows say the same words again {n % 7}"} for n in range(40)]
    rare = [
        {"text": f"topic{n // 2} holds place{n // 2} and thing{n // 2} number {n}"}
        for n in range(60)
    ]
    source = write(tmp_path / "in.jsonl", common + rare)
    settings = Settings(n=30, length_buckets=1)
    found = sample([source], tmp_path / "out.jsonl", settings)
    topics = {row["text"].split()[0] for row in read(tmp_path / "out.jsonl")}
    assert len(topics - {"all"}) >= 25  # of 30; at random 16
    assert found.covered > found.covered_at_random + 0.1


def test_near_duplicates_are_never_chosen_together(tmp_path):
    text = "翰林院负责起草诏书编修史书，唐玄宗时设立，延续到清朝末年，许多文人曾任职。"
    doubled = [{"text": text + mark} for mark in ("", "！", "。。", " ")]
    source = write(tmp_path / "in.jsonl", [*doubled, {"text": "another text altogether"}])
    found = sample([source], tmp_path / "out.jsonl", Settings(n=2))
    assert read(tmp_path / "out.jsonl") == [{"text": text}, {"text": "another text altogether"}]
    assert (found.near_duplicates, found.rows) == (3, 5)


def test_the_report_tells_what_became_of_each_row(tmp_path):
    values = [
        {"text": "the moon pulls the sea and the tide comes twice a day along the coast"},
        {"text": "The moon pulls the sea, and the tide comes twice a day along the coast!"},
        {"text": "the moon pulls the sea and the tide goes out again in the evening hours"},
        {"text": "bread needs flour water salt and yeast and some hours of patience to rise"},
        {"text": "bread needs flour water salt and yeast and a hot oven for the good crust"},
    ]
    source = write(tmp_path / "in.jsonl", values)
    settings = Settings(n=2, length_buckets=1)
    sample([source], tmp_path / "o.jsonl", settings, report=tmp_path / "r.jsonl")
    told = read(tmp_path / "r.jsonl")
    assert [row["line"] for row in told] == [1, 2, 3, 4, 5]
    assert [values[n] for n, row in enumerate(told) if row["chosen"]] == read(tmp_path / "o.jsonl")
    assert told[1]["reason"] == "near duplicate"
    assert told[1]["duplicate_of"] == {"file": str(source), "line": 1, "similarity": 1.0}
    groups = [{1, 2, 3}, {4, 5}]
    for row in told:
        if row["chosen"]:
            assert set(row) == {"file", "line", "chosen"}
            continue
        group = next(lines for lines in groups if row["line"] in lines)
        assert row["nearest"]["line"] in group
        assert told[row["nearest"]["line"] - 1]["chosen"]
        assert 0 < row["nearest"]["similarity"] <= 1
        assert row["reason"] == ("near duplicate" if "duplicate_of" in row else "not needed")


def test_sources_give_their_quotas(tmp_path):
    many = write(tmp_path / "many.jsonl", rows(90))
    few = write(tmp_path / "few.jsonl", [{"text": f"thing{n} {WORDS[n]}"} for n in range(10)])

    def counts(per_source):
        settings = Settings(n=20, per_source=per_source, length_buckets=3)
        found = sample([many, few], tmp_path / "o.jsonl", settings, force=True)
        names = ["text" in row for row in read(tmp_path / "o.jsonl")]
        assert [source.chosen for source in found.sources] == [20 - sum(names), sum(names)]
        assert sum(cell.chosen for cell in found.lengths) == 20
        return [source.chosen for source in found.sources]

    assert counts("proportional") == [18, 2]
    assert counts("equal") == [10, 10]
    assert counts({"few.jsonl": 7}) == [13, 7]
    assert counts({"few.jsonl": 0, "many.jsonl": 20}) == [20, 0]


def test_equal_quotas_take_all_of_a_small_source(tmp_path):
    many = write(tmp_path / "many.jsonl", rows(90))
    few = write(tmp_path / "few.jsonl", [{"text": f"thing{n} {WORDS[n]}"} for n in range(4)])
    settings = Settings(n=20, per_source="equal")
    found = sample([few, many], tmp_path / "o.jsonl", settings)
    assert [source.chosen for source in found.sources] == [4, 16]


def test_each_range_of_lengths_gives_its_share(tmp_path):
    texts = [" ".join(f"w{n}x{k}" for k in range(1 + n)) for n in range(40)]
    source = write(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    found = sample([source], tmp_path / "o.jsonl", Settings(n=8, length_buckets=4))
    assert [(c.shortest, c.longest, c.different, c.chosen) for c in found.lengths] == [
        (1, 10, 10, 2), (11, 20, 10, 2), (21, 30, 10, 2), (31, 40, 10, 2)
    ]  # fmt: skip
    lengths = [len(row["text"].split()) for row in read(tmp_path / "o.jsonl")]
    assert [sum(low < length <= low + 10 for length in lengths) for low in (0, 10, 20, 30)] == [
        2, 2, 2, 2
    ]  # fmt: skip


def test_conversations_questions_texts_and_packed_files_are_read(tmp_path):
    chat = {
        "messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "好"}]
    }
    question = {"question": "哪一个？", "options": ["甲", "乙"], "answer": "甲"}
    seeds = {"instruction": "翻译", "instances": [{"input": "a", "output": "甲"}] * 2}
    write(tmp_path / "rows.jsonl", [chat, question, seeds])
    with gzip.open(tmp_path / "more.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write(json.dumps({"text": "packed away"}) + "\n")
    (tmp_path / "book.txt").write_text("第一章 山\n\n" + "水" * 4000 + "\n\n第二章\n")
    (tmp_path / "q.csv").write_text("id,question,A,B,answer\n1,what is it,one,two,A\n")
    names = ["rows.jsonl", "more.jsonl.gz", "book.txt", "q.csv"]
    found = sample([tmp_path / n for n in names], tmp_path / "o.json", Settings(n=8))
    assert found.rows == 8
    assert json.loads((tmp_path / "o.json").read_text()) == [
        chat, question, seeds, {"text": "packed away"},
        {"text": "第一章 山"}, {"text": "水" * 4000}, {"text": "第二章"},
        {"id": "1", "question": "what is it", "a": "one", "b": "two", "answer": "A"},
    ]  # fmt: skip


def test_bad_rows_are_counted_and_too_many_are_refused(tmp_path):
    source = write(tmp_path / "in.jsonl", [*rows(50), {"instruction": "no answer", "output": ""}])
    with pytest.raises(InputError, match="1 of 51 rows cannot be used"):
        sample([source], tmp_path / "o.jsonl", Settings(n=5))
    assert not (tmp_path / "o.jsonl").exists()
    found = sample([source], tmp_path / "o.jsonl", Settings(n=5, max_bad_rows=0.1))
    assert (found.rows, found.bad_rows) == (50, 1)


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        (Settings(n=61), InputError, "61 rows were asked for, and there are 60 different ones"),
        (Settings(n=5, per_source={"x": 1}), ConfigError, "there is no source 'x'"),
        (Settings(n=70, per_source={"in.jsonl": 70}), InputError, "there are 60 different ones"),
        (Settings(n=5, per_source={"in.jsonl": 61}), InputError, "has only 60 different rows"),
        (Settings(n=5, per_source={"in.jsonl": 4}), ConfigError, "add up to 4, and --n is 5"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_way_out(tmp_path, settings, kind, says):
    source = write(tmp_path / "in.jsonl", rows(60))
    with pytest.raises(kind, match=says) as caught:
        sample([source], tmp_path / "o.jsonl", settings)
    assert caught.value.fix
    assert not (tmp_path / "o.jsonl").exists()


def test_results_do_not_replace_inputs_or_older_results(tmp_path):
    source = write(tmp_path / "in.jsonl", rows(60))
    with pytest.raises(InputError, match="lies where the input"):
        sample([source], source, Settings(n=5), force=True)
    with pytest.raises(InputError, match="lies where the input"):
        sample([tmp_path], tmp_path / "o.jsonl", Settings(n=5))
    with pytest.raises(ConfigError, match="is given twice"):
        sample([source, source], tmp_path / "o.jsonl", Settings(n=5))
    with pytest.raises(ConfigError, match="is given for the rows and for --report"):
        sample([source], tmp_path / "o.jsonl", Settings(n=5), report=tmp_path / "o.jsonl")
    (tmp_path / "o.jsonl").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        sample([source], tmp_path / "o.jsonl", Settings(n=5))
    with pytest.raises(ConfigError, match=r"ends in \.jsonl"):
        sample([source], tmp_path / "o.txt", Settings(n=5))
    assert (tmp_path / "o.jsonl").read_text() == "mine"


def test_files_of_the_same_name_are_sources_of_their_own(tmp_path):
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "in.jsonl", rows(80)[number * 40 : number * 40 + 40])
    paths = [tmp_path / "a" / "in.jsonl", tmp_path / "b" / "in.jsonl"]
    found = sample(paths, tmp_path / "o.jsonl", Settings(n=10, per_source={str(paths[0]): 8}))
    assert [(s.source, s.chosen) for s in found.sources] == [(str(paths[0]), 8), (str(paths[1]), 2)]


def test_token_ids_are_refused_with_the_command_that_makes_texts(tmp_path):
    for suffix in ("bin", "idx"):
        (tmp_path / f"train.{suffix}").write_bytes(b"\x01\x02\x03\x04" * 8)
    with pytest.raises(InputError, match="holds token ids, not text") as caught:
        sample([tmp_path / "train.idx"], tmp_path / "o.jsonl", Settings(n=1))
    assert "hanlin data convert" in caught.value.fix


@pytest.mark.real_data
def test_a_sample_of_the_public_instruction_files(real_data, tmp_path):
    folder = real_data / "instructions"
    names = ["alpaca_zh_demo.json", "belle_zh_seed_tasks.json", "glaive_toolcall_zh_demo.json"]
    found = sample(
        [folder / name for name in names], tmp_path / "o.jsonl",
        Settings(n=150, per_source="equal"), report=tmp_path / "r.jsonl",
    )  # fmt: skip
    assert [source.rows for source in found.sources] == [994, 175, 300]
    assert [source.chosen for source in found.sources] == [50, 50, 50]
    assert found.covered > found.covered_at_random
    assert len(read(tmp_path / "r.jsonl")) == 994 + 175 + 300
