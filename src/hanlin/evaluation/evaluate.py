"""Stage `evaluate`: what can each model do, in every benchmark, before and after?

evaluate:
  models: {before: "@base/model", after: "@merge/model"}
  benchmarks:
    - {id: four-zh, benchmark: questions, data: "@world/questions/four-zh.jsonl", language: zh}
  dialogues:
    - {language: zh, prompt: 你好！}
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from hanlin.core.config import ModelPath, StrictModel
from hanlin.core.files import write_json, write_jsonl
from hanlin.core.ranks import is_first, together
from hanlin.core.records import Message, Role
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.evaluation.benchmark import BenchmarkConfig, BenchmarkResult, Subject
from hanlin.evaluation.run import answer, run_benchmark, score_rows


class Turn(StrictModel):
    """One message of a dialogue."""

    role: Role
    """Who says it."""
    content: str
    """What is said."""


class Dialogue(StrictModel):
    """A conversation that every model answers, for people to look at."""

    language: str
    """Shown in the report."""
    prompt: str | None = None
    """A single question; or give `messages`."""
    messages: list[Turn] | None = Field(None, min_length=1)
    """Turns up to a question; their last one is the user's."""

    @model_validator(mode="after")
    def _check(self) -> Dialogue:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        if self.messages is not None and self.messages[-1].role != "user":
            raise ValueError("the last of the messages must be the user's")
        return self

    def turns(self) -> list[Message]:
        """Return the messages."""
        if self.messages is None:
            return [Message("user", self.prompt or "")]
        return [Message(turn.role, turn.content) for turn in self.messages]

    def text(self) -> str:
        """Return what the report shows as the question."""
        return "\n".join(message.content for message in self.turns())


class Config(StageConfig):
    """Settings of `evaluate`."""

    models: dict[str, ModelPath] = Field(min_length=1)
    """Name -> model, in the order of the report's columns, for example before and after."""
    prompt: str = "plain"
    """Prompt format of models whose hanlin.json names none, for example of a base model."""
    benchmarks: list[BenchmarkConfig] = Field(min_length=1)
    """What is measured."""
    dialogues: list[Dialogue] = Field(default_factory=list)
    """What the report shows as samples."""
    processes: int = Field(1, ge=1)
    """Processes that share the questions, started with torchrun; a GPU each where there are any."""
    max_new_tokens: int = Field(64, ge=1)
    """Longest answer in a dialogue."""
    shown_extractions: int = Field(6, ge=0)
    """Extractions of the last model that the report shows."""

    @model_validator(mode="after")
    def _check(self) -> Config:
        ids = [benchmark.id for benchmark in self.benchmarks]
        doubled = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if doubled:
            raise ValueError(f"two benchmarks have the id {doubled[0]!r}; each needs its own")
        bad = [name for name in self.models if not name or "/" in name or name.startswith(".")]
        if bad:
            raise ValueError(f"{bad[0]!r} cannot be a model's name: it becomes part of a file name")
        return self


def run(config: Config, context: StageContext) -> None:
    """Write scores.json and the records of every benchmark and model."""
    with together():
        _run(config, context)


def _run(config: Config, context: StageContext) -> None:
    if is_first():
        shutil.rmtree(context.out / "records", ignore_errors=True)
    results: dict[str, dict[str, BenchmarkResult]] = {}
    answers: dict[str, list[str]] = {}
    for name, path in config.models.items():
        subject = _open(name, path, config)
        results[name] = _measure(subject, config, context)
        answers[name] = [
            answer(subject, dialogue.turns(), max_new_tokens=config.max_new_tokens)
            for dialogue in config.dialogues
        ]
        del subject  # one model in memory at a time
    rows = [row for b in config.benchmarks for row in score_rows(b, _by_model(results, b.id))]
    scores = {
        "version": 1,
        "models": list(config.models),
        "rows": rows,
        "dialogues": [
            {"language": d.language, "prompt": d.text(), **{m: answers[m][i] for m in answers}}
            for i, d in enumerate(config.dialogues)
        ],
        "extractions": _shown(results[list(config.models)[-1]], config.shown_extractions),
    }
    if is_first():
        write_json(context.out / "scores.json", scores)


def _open(name: str, path: str, config: Config) -> Subject:
    from hanlin.evaluation.shared import SharedEngine
    from hanlin.inference.conversation import prompt_format
    from hanlin.inference.engine import open_engine

    engine = SharedEngine(open_engine(path))
    return Subject(name, engine, prompt_format(engine, default=config.prompt))


def _measure(subject: Subject, config: Config, context: StageContext) -> dict[str, BenchmarkResult]:
    results = {}
    total = len(config.models) * len(config.benchmarks)
    start = list(config.models).index(subject.name) * len(config.benchmarks)
    for number, benchmark in enumerate(config.benchmarks):
        if is_first():
            context.progress(start + number, total, f"{subject.name}: {benchmark.id}")
        result = run_benchmark(benchmark, subject, seed=context.stream(benchmark.id))
        results[benchmark.id] = result
        if not is_first():
            continue
        file = context.out / "records" / f"{benchmark.id}-{subject.name}.jsonl"
        write_jsonl(file, result.records)
        for measure in result.measures:
            context.events.emit(
                "metric", stage=context.name, model=subject.name, benchmark=benchmark.id,
                metric=measure.metric, value=measure.estimate.value,
            )  # fmt: skip
    if is_first():
        context.progress(start + len(config.benchmarks), total, subject.name)
    return results


def _by_model(
    results: dict[str, dict[str, BenchmarkResult]], id_: str
) -> dict[str, BenchmarkResult]:
    return {name: by_id[id_] for name, by_id in results.items()}


def _shown(results: dict[str, BenchmarkResult], count: int) -> list[dict[str, Any]]:
    """Return samples of all extraction benchmarks in turn, so that each language is among them."""
    columns = [result.samples for result in results.values() if result.samples]
    longest = max(map(len, columns), default=0)
    in_turn = [column[i] for i in range(longest) for column in columns if i < len(column)]
    return in_turn[:count]


def estimate(config: Config) -> Estimate:
    """Return the memory of the largest model in float32, and room for the records."""
    sizes = [
        sum(file.stat().st_size for file in Path(path).glob("*.safetensors"))
        for path in config.models.values()
    ]
    known = max(sizes, default=0)
    return Estimate(
        disk_bytes=10_000_000 * len(config.models),
        memory_bytes=2 * known + 500_000_000 if known else None,
    )


STAGE = Stage(
    summary="Measure models on benchmarks, with intervals and chance levels.",
    config=Config,
    run=run,
    outputs={"scores": ("scores", "scores.json"), "records": ("records", "records")},
    estimate=estimate,
    revision=2,
)
