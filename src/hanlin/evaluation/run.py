"""How is one benchmark run on one model, and how does its result become a row of scores.json?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.core.errors import ConfigError
from hanlin.core.records import Message
from hanlin.evaluation.benchmark import (
    Benchmark,
    BenchmarkConfig,
    BenchmarkResult,
    Measure,
    Subject,
)
from hanlin.evaluation.benchmarks import BENCHMARKS
from hanlin.evaluation.breakdown import problems
from hanlin.evaluation.published import comparable


def run_benchmark(config: BenchmarkConfig, subject: Subject, *, seed: int) -> BenchmarkResult:
    """Run a benchmark.

    Args:
        config: the benchmark.
        subject: the model.
        seed: of the bootstrap intervals.

    Raises:
        ConfigError: there is no such benchmark, or it cannot do what the config asks.
        InputError: its data is missing or unusable.
    """
    benchmark: Benchmark = BENCHMARKS.get(config.benchmark)
    result = benchmark.run(config, subject, seed)
    reported(config, result)  # a metric that it does not have is refused before records are written
    return result


def reported(config: BenchmarkConfig, result: BenchmarkResult) -> Measure:
    """Return the metric that is reported.

    Raises:
        ConfigError: the benchmark does not have it.
    """
    if config.metric is None:
        return result.measures[0]
    by_name = {measure.metric: measure for measure in result.measures}
    if config.metric not in by_name:
        raise ConfigError(
            f"benchmark {config.id!r} has no metric {config.metric!r}",
            why=f"{config.benchmark} gives: {', '.join(by_name)}",
            fix="name one of these, or leave metric out",
        )
    return by_name[config.metric]


def score_rows(
    config: BenchmarkConfig, results: Mapping[str, BenchmarkResult]
) -> list[dict[str, Any]]:
    """Return the rows of scores.json for one benchmark: one, and one for each part.

    Args:
        config: the benchmark.
        results: model's name -> its result, in the order of the models.
    """
    if not results:
        return []
    measures = {name: reported(config, result) for name, result in results.items()}
    first = next(iter(measures.values()))
    settings = _settings(next(iter(results.values())))
    more = {
        "settings": settings,
        "categories": {name: found for name, r in results.items()
                       if (found := r.details.get("categories"))},
        "problems": {name: found for name, r in results.items()
                     if (found := problems(r.details))},
        "published": comparable(settings, metric=first.metric),
    }  # fmt: skip
    label, language = config.label or config.id, next(iter(results.values())).language
    found = [_row(config.id, label, language, measures) | {k: v for k, v in more.items() if v}]
    for part in next(iter(results.values())).parts if config.metric is None else ():
        own = {name: result.parts[part] for name, result in results.items()}
        found.append(_row(f"{config.id}-{part}", f"{label}: {part}", language, own))
    return found


def _row(id_: str, label: str, language: str, measures: Mapping[str, Measure]) -> dict[str, Any]:
    first = next(iter(measures.values()))
    return {
        "benchmark": id_,
        "label": label,
        "language": language,
        "metric": first.metric,
        "higher_is_better": first.higher_is_better,
        "chance": None if first.chance is None else round(first.chance, 6),
        "scores": {name: _score(measure) for name, measure in measures.items()},
    }


def _settings(result: BenchmarkResult) -> dict[str, Any]:
    """Return how a benchmark of questions was asked; empty for others."""
    names = ("benchmark", "protocol", "scorer", "shots", "split", "part", "options_each")
    return {name: result.details[name] for name in names if name in result.details}


def _score(measure: Measure) -> dict[str, float | int]:
    estimate = measure.estimate
    return {
        "value": round(estimate.value, 6),
        "low": round(estimate.low, 6),
        "high": round(estimate.high, 6),
        "n": estimate.n,
    }


def answer(subject: Subject, messages: Sequence[Message], *, max_new_tokens: int) -> str:
    """Return a model's answer to the last of some messages, chosen greedily."""
    from hanlin.inference.conversation import fit_prompt, prompt_budget
    from hanlin.inference.engine import Sampling
    from hanlin.prompts.encode import stop_ids

    engine, format = subject.engine, subject.format
    prompt, _ = fit_prompt(
        messages, format=format, tokenizer=engine.tokenizer,
        max_tokens=prompt_budget(engine.max_length, max_new_tokens),
    )  # fmt: skip
    ends = stop_ids(format, engine.tokenizer)
    sampling = Sampling(max_new_tokens=max_new_tokens, stop=format.stop_strings, stop_ids=ends)
    return engine.generate([prompt], sampling)[0].text.strip()
