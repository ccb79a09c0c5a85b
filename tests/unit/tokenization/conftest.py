"""Small trained tokenizers that the tests of this folder share."""

import pytest

from hanlin.tokenization.load import load
from hanlin.tokenization.train import train_sentencepiece

ENGLISH = [
    "The river runs through the old town, and the old bridge crosses the river.",
    "Who wrote the book? The teacher wrote the book in the year 1912 </s> <s>.",
    "She said that the festival is held every third year, when the lanterns are lit.",
] * 3
CHINESE = [
    "河流穿过古城，古桥横跨河流。河流很长，古城很老。",
    "这本书是谁写的？这本书是老师写的。老师住在古城。",
    "画家出生在北方的古城。画家住在古桥旁边，老师住在河流旁边。",
] * 3


@pytest.fixture(scope="session")
def english():
    return ENGLISH


@pytest.fixture(scope="session")
def chinese():
    return CHINESE


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    """A tokenizer that knows English only."""
    out = tmp_path_factory.mktemp("base") / "tokenizer"
    return train_sentencepiece(ENGLISH, vocab_size=340, out=out)


@pytest.fixture(scope="session")
def base(base_folder):
    return load(base_folder)
