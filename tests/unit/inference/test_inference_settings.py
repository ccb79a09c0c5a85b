"""Settings of an answer are checked; what a backend does not have is refused; streams close."""

import gc

import pytest

from hanlin.core.errors import ConfigError, ResourceError
from hanlin.evaluation.cache import CachedEngine
from hanlin.inference.engine import MAX_BEAMS, Sampling, StreamEvent, refuse_settings, texts_of
from hanlin.inference.engine import open_engine as open_model
from hanlin.inference.out_of_memory import is_out_of_memory, out_of_memory
from hanlin.models.tiny import make_tiny


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return open_model(str(make_tiny(tmp_path_factory.mktemp("tiny"))))


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("min_p", 1.1, "0 to 1"),
        ("repetition_penalty", 0.0, "above 0"),
        ("presence_penalty", 2.5, "-2 to 2"),
        ("frequency_penalty", float("nan"), "-2 to 2"),
        ("num_beams", 0, f"1 to {MAX_BEAMS}"),
        ("length_penalty", 11.0, "-10 to 10"),
        ("top_logprobs", -1, "0 to"),
    ],
)
def test_a_setting_out_of_its_range(name, value, rule):
    with pytest.raises(ConfigError, match=name) as caught:
        Sampling(**{name: value})
    assert rule in caught.value.why


def test_what_a_backend_does_not_have_is_refused():
    names = ("num_beams", "adapter")
    refuse_settings(Sampling(temperature=1.0, min_p=0.1), names, backend="other")
    for setting in ({"num_beams": 2}, {"adapter": "chat"}):
        with pytest.raises(ConfigError, match="cannot be set for this model") as caught:
            refuse_settings(Sampling(**setting), names, backend="other")
        assert "the backend other does not have it" in caught.value.why
        assert next(iter(setting)) in caught.value.fix


def test_closing_a_stream_closes_what_is_behind_it():
    closed = []

    def events():
        try:
            for text in ("", "古", "城"):
                yield StreamEvent(text)
        finally:
            closed.append(True)

    texts = texts_of(events())
    assert next(texts) == "古"
    texts.close()
    assert closed == [True]
    assert list(texts_of(events())) == ["古", "城"]


def test_a_closed_stream_of_a_model_frees_its_cache(engine):
    def count_caches():
        gc.collect()
        return sum(type(thing).__name__ == "DynamicCache" for thing in gc.get_objects())

    before = count_caches()
    events = engine.events([1, 5, 6], Sampling(max_new_tokens=200, num_beams=4))
    next(events)
    assert count_caches() == before + 1
    events.close()
    assert count_caches() == before


def test_tokens_of_a_text_are_counted_as_they_are_encoded(engine):
    for text in ("", "Who wrote the book?", "这本书是谁写的？🙂"):
        assert engine.count_tokens(text) == len(engine.tokenizer.encode(text, at_start=True))


def test_only_plain_greedy_answers_are_kept(engine, tmp_path):
    journal = tmp_path / "journal.jsonl"
    cached = CachedEngine(engine, journal)
    plain = Sampling(max_new_tokens=6)
    assert cached.generate([[1, 5]], plain) == engine.generate([[1, 5]], plain)
    kept = journal.read_bytes()
    for other in (
        Sampling(max_new_tokens=6, num_beams=3),
        Sampling(max_new_tokens=6, repetition_penalty=5.0),
        Sampling(max_new_tokens=6, top_logprobs=1),
    ):
        assert cached.generate([[1, 5]], other) == engine.generate([[1, 5]], other)
    assert journal.read_bytes() == kept


def test_memory_errors_are_told_from_others():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))
    error = out_of_memory("CUDA out of memory. Tried\nmore")
    assert isinstance(error, ResourceError)
    assert (error.why, "fewer beams" in error.fix) == ("CUDA out of memory. Tried", True)
