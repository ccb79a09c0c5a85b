"""Near duplicates are found, different texts are not, however the texts are handed in."""

import hashlib
import json
import os
import random
import subprocess
import sys

import pytest

from hanlin.data.corpus.near_duplicates import NearDuplicates, Neighbor, signatures
from hanlin.data.corpus.shingles import shingles, split_words

CHINESE = (
    "翰林院是中国古代的官署，负责起草诏书、编修史书。"
    "唐玄宗时设立，延续到清朝末年，历代许多文人曾在那里任职。"
)
ENGLISH = (
    "The academy drafted edicts and compiled histories for the court; it was founded under the "
    "Tang and lasted until the end of the Qing, and many well known writers served in it."
)


def jaccard(left: str, right: str) -> float:
    """Return the exact similarity of two texts."""
    found, where = shingles(split_words([left, right]), 3)
    sets = [set(found[where == number].tolist()) for number in (0, 1)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def variations(seed: int, count: int) -> list[str]:
    """Return texts, some of them changed a little, in a random order."""
    draw = random.Random(seed)
    letters = [chr(point) for point in range(0x4E00, 0x4E00 + 600)]
    texts = []
    while len(texts) < count:
        text = "".join(draw.choices(letters, k=draw.randint(1, 200)))
        texts.append(text)
        for _ in range(draw.randint(0, 4)):
            at = draw.randrange(len(text))
            texts.append(text[:at] + draw.choice(letters) + text[at + draw.randint(0, 3) :])
    draw.shuffle(texts)
    return texts[:count]


@pytest.mark.parametrize(
    "text", [CHINESE, ENGLISH, CHINESE + ENGLISH, "😀😃😄😁🎉🚀", "短", "", "!?"]
)
def test_the_same_text_is_a_duplicate_of_itself_with_similarity_one(text):
    near = NearDuplicates()
    assert near.is_new(text)
    assert near.nearest is None
    assert not near.is_new(text)
    assert near.nearest == Neighbor(0, 1.0)
    assert len(near) == 1


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        (ENGLISH, ENGLISH.upper()),
        (ENGLISH, ENGLISH.replace(" ", "\n  ").replace(",", " --")),
        ("ABC 123 full width letters", "ＡＢＣ　１２３ full width letters"),
        (CHINESE, CHINESE.replace("，", ", ").replace("。", "")),
    ],
)
def test_case_width_white_space_and_punctuation_make_no_difference(text, variant):
    assert NearDuplicates().find([text, variant]) == [None, Neighbor(0, 1.0)]


def test_one_changed_word_is_a_near_duplicate_and_another_text_is_not():
    near = NearDuplicates()
    changed = CHINESE * 2 + "又及。"
    found = near.find([ENGLISH, CHINESE * 2, changed, "今天天气很好，我们去公园散步吧。"])
    assert found[0] is found[1] is found[3] is None
    assert found[2] is not None
    assert found[2].index == 1
    assert found[2].similarity == pytest.approx(jaccard(CHINESE * 2, changed), abs=0.12)


def test_the_nearest_of_several_is_named():
    longer = ENGLISH + " Its rooms stood close to the palace."
    near = NearDuplicates(threshold=0.5)
    found = near.find([ENGLISH, CHINESE, longer[:-8] + "gate of the old palace.", longer])
    assert found[0] is found[1] is None
    assert found[3] is not None
    kept = [index for index in (0, 2) if found[index] is None]
    assert found[3].index == max(kept, key=lambda i: jaccard([ENGLISH, "", longer][i], longer))


def test_numbers_and_signs_make_a_difference():
    assert NearDuplicates().find(["12 + 30", "12 - 30", "12 + 31", "30 + 12"]) == [None] * 4


def test_half_of_a_character_and_control_characters_are_read():
    assert NearDuplicates().find(["\ud800 alpha \x00 beta", "𝒳 gamma"]) == [None, None]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_answers_do_not_depend_on_how_the_texts_are_handed_in(seed):
    texts = variations(seed, 400)
    together = NearDuplicates().find(texts)
    one_by_one = NearDuplicates()
    assert [one_by_one.find([text])[0] for text in texts] == together
    in_parts = NearDuplicates()
    assert [*in_parts.find(texts[:37]), *in_parts.find(texts[37:])] == together
    signed = NearDuplicates()
    assert signed.find_signatures(signatures(texts)) == together
    assert any(together)
    assert not all(together)


def test_what_is_found_is_what_comparing_every_pair_finds():
    texts = variations(3, 250)
    found = NearDuplicates(0.8).find(texts)
    kept: list[int] = []
    missed = wrong = 0
    for number, text in enumerate(texts):
        best = max((jaccard(text, texts[other]) for other in kept), default=0.0)
        missed += best >= 0.9 and found[number] is None
        wrong += best < 0.68 and found[number] is not None
        if found[number] is None:
            kept.append(number)
    assert (missed, wrong) == (0, 0)


def test_estimates_are_as_sharp_as_128_minima_allow():
    draw = random.Random(5)
    words = [f"w{number}" for number in range(5000)]
    errors = []
    for _ in range(200):
        left = draw.sample(words, draw.randint(3, 300))
        cut = draw.randint(1, len(left))
        right = left[:cut] + draw.sample(words, draw.randint(0, 40))
        pair = [" ".join(left), " ".join(right)]
        values = signatures(pair)
        errors.append(float((values[0] == values[1]).mean()) - jaccard(*pair))
    assert abs(sum(errors) / len(errors)) < 0.01
    assert (sum(error**2 for error in errors) / len(errors)) ** 0.5 < 0.044  # sqrt(1/4 / 128)


def test_a_phrase_that_many_texts_share_does_not_make_it_slow_or_wrong():
    texts = [
        f"计算下面的加法并写出答案：{number} + {number * 7919 % 10007}" for number in range(3000)
    ]
    near = NearDuplicates()
    found = near.find(texts + texts)
    assert all(neighbor is not None and neighbor.similarity > 0.79 for neighbor in found[3000:])


def test_the_tables_grow():
    texts = [f"{number} {number * 31} {number * 17} {number * 7}" for number in range(6000)]
    near = NearDuplicates()
    assert near.find(texts) == [None] * 6000
    assert near.find(texts[::7]) == [Neighbor(index, 1.0) for index in range(0, 6000, 7)]


def test_the_signatures_are_the_same_in_every_process_and_on_every_machine():
    code = (
        "import sys, json, hashlib; from hanlin.data.corpus.near_duplicates import signatures;"
        "print(hashlib.sha256(signatures(json.load(sys.stdin)).tobytes()).hexdigest())"
    )
    here = hashlib.sha256(signatures([CHINESE, ENGLISH, ""]).tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps([CHINESE, ENGLISH, ""]), text=True,
        capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert there.stdout.strip() == here
    assert here.startswith("9f35ccf5a09eb2d9")


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.01, float("nan")])
def test_a_threshold_that_is_no_similarity_is_refused(threshold):
    with pytest.raises(ValueError, match="not above 0 and at most 1"):
        NearDuplicates(threshold)
