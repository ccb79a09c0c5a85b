"""How does a benchmark of ours become task files of lm-evaluation-harness?

A YAML task and a JSON-lines file for each subject, and a group that averages them as our protocol
does. The prompts are written out whole, examples included: what the harness scores is, letter for
letter, what is scored here. Tried with lm_eval 0.4.13.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from hanlin.core.errors import ConfigError
from hanlin.core.files import write_atomic, write_jsonl
from hanlin.core.records import Question
from hanlin.evaluation.benchmark import Benchmark, BenchmarkConfig, Subject, spread
from hanlin.evaluation.benchmarks import BENCHMARKS
from hanlin.evaluation.multiple_choice import Paper
from hanlin.evaluation.protocol import GENERATED, Protocol, choices_of, prompt_text
from hanlin.inference.engine import Engine
from hanlin.prompts.formats import get_format

METRICS = ("acc", "acc_norm")


@dataclass(frozen=True)
class ExportedTask:
    """What was written.

    Attributes:
        task: the name that `--tasks` takes.
        subjects: how many tasks it groups.
        questions: how many are in them.
        left_out: questions without an answer or without options.
        files: all of them.
    """

    task: str
    subjects: int
    questions: int
    left_out: int
    files: tuple[Path, ...]


def export_task(config: BenchmarkConfig, out: Path) -> ExportedTask:
    """Write a benchmark's questions as task files into a folder.

    Args:
        config: the benchmark and how it is asked.
        out: the folder, made if missing.

    Raises:
        ConfigError: it asks no questions with options, or in a way that a task cannot say.
        ResourceError: the folder cannot be written.
    """
    paper, protocol = _paper(config)
    asked = [q for q in paper.questions if q.options and (q.answer is not None or q.answers)]
    kept = spread(asked, config.limit)
    by_subject: dict[str, list[Question]] = defaultdict(list)
    for question in kept:
        by_subject[question.subject].append(question)
    group = f"hanlin_{_name(config.id)}"
    files, tasks = [], []
    for number, (subject, questions) in enumerate(sorted(by_subject.items())):
        task = f"{group}_{_name(subject) or number}"
        if task in tasks:
            task = f"{task}_{number}"
        tasks.append(task)
        data, settings = out / f"{task}.jsonl", out / f"{task}.yaml"
        write_jsonl(data, [_row(question, paper, protocol) for question in questions])
        _write_yaml(settings, _task(task, data, protocol))
        files += [data, settings]
    _write_yaml(out / f"{group}.yaml", _group(group, tasks, protocol))
    left_out = len(paper.questions) - len(asked)
    return ExportedTask(group, len(tasks), len(kept), left_out, (*files, out / f"{group}.yaml"))


def _paper(config: BenchmarkConfig) -> tuple[Paper, Protocol]:
    benchmark: Benchmark = BENCHMARKS.get(config.benchmark)
    if benchmark.paper is None:
        raise ConfigError(
            f"{config.benchmark} asks no questions with options",
            fix="choose another benchmark: hanlin eval list",
        )
    # Only its format decides about a paper, and that is refused below.
    nobody = Subject("", cast("Engine", None), get_format("plain"))
    made: tuple[Paper, Protocol] = benchmark.paper(config, nobody, 0)
    _, protocol = made
    if protocol.format is not None:
        raise ConfigError(
            f"{config.id} is asked in the model's chat format",
            why="a task file is written before the model is known",
            fix="choose running text: --protocol plain; or use lm_eval's --apply_chat_template",
        )
    if protocol.scorer in (*GENERATED, "pmi"):
        raise ConfigError(
            f"the scorer {protocol.scorer} cannot be written as a task of options",
            fix="choose --scorer letter, text or text-norm",
        )
    return made


def _name(text: str) -> str:
    """Return a text as part of a task's name, which must be a plain word."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _row(question: Question, paper: Paper, protocol: Protocol) -> dict[str, Any]:
    choices, answer = choices_of(question, protocol)
    text = prompt_text(question, paper.shots(question), protocol)
    return {"id": question.id, "text": text, "choices": list(choices), "answer": answer}


def _task(name: str, data: Path, protocol: Protocol) -> dict[str, Any]:
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "text",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": protocol.layout.space,
        "num_fewshot": 0,
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True}
            for metric in METRICS
        ],
        "metadata": {"version": 1.0},
    }


def _group(name: str, tasks: Sequence[str], protocol: Protocol) -> dict[str, Any]:
    is_micro = protocol.average == "micro"
    return {
        "group": name,
        "task": list(tasks),
        "aggregate_metric_list": [
            {"metric": metric, "aggregation": "mean", "weight_by_size": is_micro}
            for metric in METRICS
        ],
        "metadata": {"version": 1.0},
    }


def _write_yaml(path: Path, value: dict[str, Any]) -> None:
    write_atomic(path, yaml.safe_dump(value, allow_unicode=True, sort_keys=False).encode())
