"""The rows chosen are worth as much as those of exact greedy over scikit-learn's features."""

import random
import re
from pathlib import Path

import numpy as np
import pytest

from hanlin.data.corpus.shingles import split_words
from hanlin.data.sampling.coverage import Group, choose, feature_weights, value
from hanlin.data.sampling.features import FeatureFile, features

text_features = pytest.importorskip("sklearn.feature_extraction.text")

HAN = "\u4e00-\u9fff"


def pool(count: int) -> list[str]:
    """Return texts of Chinese and English with words as frequent as Zipf says."""
    draw = random.Random(11)
    words = [f"word{number}" for number in range(1500)]
    characters = [chr(0x4E00 + 7 * number) for number in range(700)]
    weights = [1 / (rank + 3) for rank in range(1500)]
    texts = []
    for _ in range(count):
        english = draw.choices(words, weights, k=draw.randint(3, 25))
        chinese = draw.choices(characters, weights[:700], k=draw.randint(2, 25))
        texts.append(" ".join(english) + "，" + "".join(chinese) + "。")
    return texts


def analyze(text: str) -> list[str]:
    """Return words and pairs of Chinese characters."""
    found = []
    for run in re.findall(rf"[{HAN}]+|[^\W_{HAN}]+", text.lower()):
        if re.match(rf"[{HAN}]{{2}}", run):
            found += [run[at : at + 2] for at in range(len(run) - 1)]
        else:
            found.append(run)
    return found


def feature_file(texts: list[str], folder: Path) -> FeatureFile:
    file = FeatureFile(folder)
    file.add(*features(split_words(texts)))
    file.finish()
    return file


def exact_greedy(matrix, weights: np.ndarray, groups: list[tuple[np.ndarray, int]]) -> list[int]:
    """Take the best row of all, group after group in turns as in `coverage`."""
    holders = np.zeros(matrix.shape[1])
    is_taken = np.zeros(matrix.shape[0], bool)
    turns = sorted(
        ((time + 0.5) / quota, number)
        for number, (_, quota) in enumerate(groups)
        for time in range(quota)
    )
    for _, number in turns:
        gains = matrix @ (weights * (np.sqrt(holders + 1) - np.sqrt(holders)))
        rows = groups[number][0][~is_taken[groups[number][0]]]
        best = int(rows[gains[rows].argmax()])
        is_taken[best] = True
        holders += matrix[best].toarray()[0]
    return np.flatnonzero(is_taken).tolist()


@pytest.fixture(scope="module")
def counted():
    texts = pool(1500)
    counter = text_features.CountVectorizer(analyzer=analyze, binary=True, min_df=2)
    matrix = counter.fit_transform(texts)
    idf = text_features.TfidfTransformer().fit(matrix).idf_
    return texts, matrix.astype(np.float64).tocsr(), idf


def test_weights_are_scikit_learns_idf(counted, tmp_path):
    texts, matrix, idf = counted
    weights = feature_weights(feature_file(texts, tmp_path))
    ours = np.sort(weights[weights > 0])
    assert len(ours) == pytest.approx(matrix.shape[1], rel=0.01)  # few share a hashed place
    assert float(ours.sum()) == pytest.approx(float(idf.sum()), rel=0.01)


@pytest.mark.parametrize("sizes", [[150], [100, 40, 10]])
def test_the_value_is_within_two_percent_of_exact_greedy(counted, tmp_path, sizes):
    texts, matrix, idf = counted
    parts = np.array_split(np.random.default_rng(2).permutation(len(texts)), len(sizes))
    groups = [(np.sort(part), size) for part, size in zip(parts, sizes, strict=True)]
    file = feature_file(texts, tmp_path)
    ours = choose(file, feature_weights(file), [Group(*group) for group in groups], seed=4)

    def worth(rows) -> float:
        return float(idf @ np.sqrt(np.asarray(matrix[rows].sum(axis=0))[0]))

    exact = worth(exact_greedy(matrix, idf, groups))
    assert worth(np.sort(ours)) >= 0.98 * exact
    drawn = np.concatenate([rows[:size] for rows, size in groups])
    assert worth(drawn) < 0.9 * exact
    assert value(file, feature_weights(file), ours) == pytest.approx(worth(ours), rel=0.01)
    for rows, size in groups:
        assert np.isin(ours, rows).sum() == size
    assert len(set(ours.tolist())) == len(ours)
