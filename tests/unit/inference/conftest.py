"""A tiny model on transformers and a few prompts for it, in both languages."""

import pytest

from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.models.tiny import make_tiny

TEXTS = ("Who wrote the book?", "这本书是谁写的？", "A 混合 sentence：ＡＢＣ, 🙂!", "x")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return TransformersEngine(str(make_tiny(tmp_path_factory.mktemp("tiny"))), batch_size=3)


@pytest.fixture(scope="module")
def prompts(engine):
    tokenizer = engine.tokenizer
    return [[tokenizer.bos_id, *tokenizer.encode(text, at_start=True)] for text in TEXTS]
