"""Beam search is shown while it goes on: what is certain stays, and the end is what was certain."""

import pytest
from torch.nn.modules.module import register_module_forward_hook

from hanlin.inference.engine import Sampling

SEARCH = Sampling(max_new_tokens=20, num_beams=4, top_logprobs=2)
DRAWN = Sampling(max_new_tokens=20, num_beams=4, temperature=1.1, top_logprobs=2, seed=5)


@pytest.mark.parametrize("sampling", [SEARCH, DRAWN])
def test_what_is_shown_as_certain_never_changes(engine, prompts, sampling):
    for prompt in prompts:
        answer = engine.generate([prompt], sampling)[0]
        certain = ""
        for event in engine.events(prompt, sampling):
            certain += event.text
            assert answer.text.startswith(certain)
            assert 1 <= len(event.beams) <= 5
            assert {beam.text for beam in event.beams} == {certain}
            assert [b.score for b in event.beams] == sorted(b.score for b in event.beams)[::-1]
            assert not any("\ufffd" in beam.text + beam.tail for beam in event.beams)
        assert certain == answer.text
        assert event.generation == answer
        assert event.beams[0].score == answer.score


@pytest.mark.parametrize("sampling", [SEARCH, DRAWN])
def test_beams_of_a_batch_are_those_of_each_prompt_alone(engine, prompts, sampling):
    one_by_one = [engine.generate([prompt], sampling)[0] for prompt in prompts]
    together = engine.generate(prompts, sampling)
    count = 1 if sampling.temperature else len(prompts)  # each place has random numbers of its own
    assert [a.ids for a in together[:count]] == [a.ids for a in one_by_one[:count]]
    for ours, alone in zip(together[:count], one_by_one, strict=False):
        assert ours.score == pytest.approx(alone.score, rel=1e-5)


def test_log_probabilities_are_those_of_the_winning_tokens(engine, prompts):
    for prompt in prompts:
        events = list(engine.events(prompt, SEARCH))
        answer = events[-1].generation
        assert [token.id for token in answer.logprobs] == list(answer.ids)
        assert b"".join(token.data for token in answer.logprobs).decode(errors="ignore")
        assert sum((event.logprobs for event in events), ()) == answer.logprobs
        total = sum(token.logprob for token in answer.logprobs)
        assert total / len(answer.ids) == pytest.approx(answer.score, abs=1e-4)
        assert engine.score([(prompt, answer.ids)])[0] == pytest.approx(total, abs=1e-3)


def test_beam_search_shows_something_no_later_than_greedy_search(engine, prompts):
    passes = []
    handle = register_module_forward_hook(
        lambda module, *_: passes.append(1) if hasattr(module, "lm_head") else None
    )

    def passes_until_shown(prompt, sampling):
        passes.clear()
        for event in engine.events(prompt, sampling):
            if event.text or any(beam.tail for beam in event.beams) or event.generation:
                return len(passes)
        raise AssertionError("the last event has the generation")

    try:
        for prompt in prompts:
            greedy = passes_until_shown(prompt, Sampling(max_new_tokens=20))
            assert passes_until_shown(prompt, SEARCH) <= greedy
            first = next(engine.events(prompt, SEARCH))
            assert len(first.beams) == 4
    finally:
        handle.remove()


def test_stop_strings_end_beams(engine, prompts):
    whole = engine.generate(prompts[:1], SEARCH)[0].text
    stop = whole[3:5]
    sampling = Sampling(max_new_tokens=20, num_beams=4, stop=(stop,))
    cut = engine.generate(prompts[:1], sampling)[0]
    assert stop not in cut.text
    assert "".join(engine.stream(prompts[0], sampling)) == cut.text


def test_as_many_beams_as_wanted_even_if_there_are_few_tokens(engine):
    answer = engine.generate([[1, 5]], Sampling(max_new_tokens=2, num_beams=64, temperature=0.5))[0]
    assert len(answer.ids) <= 2
    one = Sampling(max_new_tokens=4, num_beams=5, temperature=1.0, top_k=1)
    assert engine.generate([[1, 5]], one)[0].score is not None
