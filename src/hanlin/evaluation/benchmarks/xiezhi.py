"""Xiezhi (Gu et al. 2023, https://arxiv.org/abs/2306.05783): 516 disciplines, ranking 50 options.

split is spec (one discipline each) or inter (several), language zh or en.
"""

from __future__ import annotations

from pathlib import Path

from hanlin.core.errors import ConfigError, InputError
from hanlin.data.readers import BadRows, read_questions
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.data_sets import data_folder
from hanlin.evaluation.exam import notes_of
from hanlin.evaluation.multiple_choice import Paper, question_benchmark
from hanlin.evaluation.option_pool import fill_up
from hanlin.evaluation.protocol import Protocol
from hanlin.evaluation.protocols import MRR_OPTIONS, protocol_for
from hanlin.evaluation.shots import choose_examples

LANGUAGES = {"zh": "chn", "en": "eng"}
MAX_BAD_ROWS = 0.1  # the published files have lines whose answer is not among the options
RANKS = (None, "official", "cutegpt-mrr")


def paper(config: BenchmarkConfig, subject: Subject, seed: int) -> tuple[Paper, Protocol]:
    """Return the questions with 50 options, or with their own 4."""
    ranks = config.protocol in RANKS
    bad = BadRows(max(config.max_bad_rows, MAX_BAD_ROWS))
    file = _file(config, config.split or "spec")
    questions = list(read_questions(file, bad=bad))
    count = config.options or (MRR_OPTIONS if ranks else None)
    asked = questions
    if count:
        asked = fill_up(questions, count=count, seed=seed, shuffle=config.shuffle, pool=questions)
    pool = []
    if config.shots:
        train = BadRows(bad.max_share)
        pool = list(read_questions(_file(config, "train"), bad=train))
    part = config.split or "spec"
    language = config.language or "zh"
    notes = notes_of(config, questions, bad, asked=asked, split=part)
    how = "label" if config.shot_choice == "first" else config.shot_choice
    named = config.model_copy(update={"protocol": "cutegpt-mrr"}) if ranks else config
    return Paper(
        questions=asked,
        examples=choose_examples(asked, pool, shots=config.shots or 0, how=how, seed=seed),
        notes={**notes, "part": f"{part} {language}", "file": file.name, "options": count or 4},
    ), protocol_for(named, subject, questions=questions)


def _file(config: BenchmarkConfig, part: str) -> Path:
    """Return the file of a part: xiezhi_spec_chn.jsonl, or xiezhi_spec_chn/xiezhi.v1.1.json.

    Raises:
        ConfigError: examples are wanted and only one file was given.
        InputError: the part is not there.
    """
    folder = data_folder(config)
    if not folder.is_dir():
        if part == "train":
            raise ConfigError(
                f"shots is {config.shots}, but {folder} is one file",
                fix="give the folder that has xiezhi_train_chn, too, or ask with shots: 0",
            )
        return folder
    name = f"xiezhi_{part}_{LANGUAGES.get(config.language or 'zh', config.language)}"
    found = sorted([*folder.glob(f"{name}.json*"), *folder.glob(f"{name}/*.json*")])
    if not found:
        raise InputError(
            f"{folder} has no {name}",
            why=f"it has: {', '.join(sorted(path.name for path in folder.iterdir()))}",
            fix="choose with split: spec or inter, and language: zh or en",
        )
    return found[0]


BENCHMARK = question_benchmark(
    paper,
    summary="Xiezhi: the right option's rank among 50 (or 4), by the options' texts.",
    data="its folder (split: spec or inter, language: zh or en), or one of its files",
)
