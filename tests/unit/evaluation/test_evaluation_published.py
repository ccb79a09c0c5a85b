"""Published figures: as printed, marked where below chance, beside what was got alike only."""

import re

import pytest

from hanlin.evaluation.published import comparable, published

COLUMNS = ("STEM", "Social Science", "Humanities", "Other", "Average")
SETTINGS = {"benchmark": "ceval", "protocol": "default", "scorer": "letter", "shots": 5,
            "split": "val", "options_each": 4}  # fmt: skip


def values(benchmark, metric, source):
    return {
        (row["model"], row["part"], row["shots"]): row["value"]
        for row in published(benchmark, metric=metric)
        if row["source"] == source
    }


def test_every_figure_has_its_source_and_its_chance():
    rows = [r for name in ("ceval", "cmmlu", "mmlu", "m3ke", "xiezhi") for r in published(name)]
    assert len(rows) > 350
    for row in rows:
        assert 0 < row["value"] < 1 and row["source"] and row["url"].startswith("https://")
        assert row["below_chance"] == (row["value"] < row["chance"])
    below = {r["model"] for r in rows if r["below_chance"] and r["metric"] == "mrr"}
    assert {"CuteGPT-13B-ift-lora", "Random-Guess", "moss-sft-16B"} <= below
    assert published("bits-per-byte") == []


def test_figures_are_comparable_where_they_were_got_alike():
    found = comparable(SETTINGS, metric="accuracy")
    assert {row["shots"] for row in found} == {5}
    other = {(row["source"], row["split"]): row["is_other_split"] for row in found}
    assert other["CuteGPT README", "not stated"]
    assert not other["Chinese-LLaMA-Alpaca-2 README", "val"]
    for change in ({"shots": 3}, {"scorer": "text"}, {"protocol": "chat"}, {"options_each": 50}):
        assert comparable({**SETTINGS, **change}, metric="accuracy") == []
    ranking = {"benchmark": "xiezhi", "options_each": 50, "shots": 3, "part": "inter en"}
    rows = comparable(ranking, metric="mrr")
    assert {row["part"] for row in rows} == {"inter en"}
    assert {r["model"]: r["value"] for r in rows}["GPT-4"] == 0.576
    assert comparable({**ranking, "options_each": 4}, metric="mrr") == []
    assert comparable({}, metric="bits_per_byte") == []


@pytest.fixture(scope="module")
def readmes(real_data):
    files = sorted((real_data.parent / "seeds").glob("*.txt"))
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    found = [text for text in texts if "C-eval Hard" in text]
    if not found:
        pytest.skip("the READMEs are not beside the public data")
    return found


def cells(line):
    return [re.sub(r"[*`]", "", cell).strip() for cell in line.strip().strip("|").split("|")]


@pytest.fixture(scope="module")
def tables(readmes):
    """The tables of the English README: heading -> rows of cells."""
    text = next(text for text in readmes if "CuteGPT is an open-source" in text)
    found, heading = {}, ""
    for line in text[: text.index("## Inference Efficiency")].splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        elif line.startswith("|") and not set(line) <= set("| -:"):
            found.setdefault(heading, []).append(cells(line))
    return found


@pytest.mark.real_data
def test_every_accuracy_of_cutegpt_is_the_printed_one(tables):
    accuracy = {}
    for heading, shots in (("Zero-shot", 0), ("Five-shot", 5)):
        assert tables[heading][0][1:] == list(COLUMNS)
        for model, *printed in tables[heading][1:]:
            for part, value in zip(COLUMNS, printed, strict=True):
                accuracy[model, part, shots] = pytest.approx(float(value) / 100)
    hard = {
        (model, "Hard", shots): pytest.approx(float(value) / 100)
        for model, *printed in tables["C-eval Hard"][1:]
        for shots, value in zip((0, 5), printed, strict=True)
        if value != "N/A"
    }
    assert values("ceval", "accuracy", "CuteGPT README") == accuracy
    assert values("ceval", "accuracy_hard", "CuteGPT README") == hard


@pytest.mark.real_data
def test_every_rank_of_cutegpt_is_the_printed_one(tables):
    (names, shots, *rows), ranked = tables["XieZhi"], {}
    parts = {"Spec": "spec", "Inter": "inter", "Chinese": "zh", "English": "en"}
    for model, *printed in (row for row in rows if row[1]):
        for name, shot, value in zip(names[1:], shots[1:], printed, strict=True):
            first, *more = re.split(r"[.-]+", name)
            part = " ".join(parts[word] for word in more) if first == "Xiezhi" else "Average"
            benchmark = {"C": "ceval"}.get(first, first.lower())
            ranked.setdefault(benchmark, {})[model, part, int(shot[0])] = float(value)
    assert len(ranked) == 4
    for benchmark, expected in ranked.items():
        assert values(benchmark, "mrr", "CuteGPT README") == expected


@pytest.mark.real_data
def test_the_smaller_model_is_in_the_chinese_readme_only(readmes):
    text = next(text for text in readmes if "CuteGPT-7B-ift 0." in text)
    printed = re.search(r"^CuteGPT-7B-ift (.*)$", text, re.M)[1].split()
    found = [
        value
        for name in ("mmlu", "ceval", "m3ke", "xiezhi")
        for value in values(name, "mrr", "CuteGPT README (Chinese)").values()
    ]
    assert found == [float(value) for value in printed]
