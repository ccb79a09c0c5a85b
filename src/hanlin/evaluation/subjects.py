"""Which subjects has an exam, what are their names in prompts, and their categories?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

# C-Eval's authors name these eight as Hard (Huang et al. 2023, section 3).
CEVAL_HARD = frozenset({
    "advanced_mathematics", "discrete_mathematics", "probability_and_statistics",
    "college_chemistry", "college_physics", "high_school_mathematics", "high_school_chemistry",
    "high_school_physics",
})  # fmt: skip

# Those that CMMLU's authors call China specific (Li et al. 2023; src/categories.py).
CMMLU_CHINA = frozenset({
    "ancient_chinese", "chinese_civil_service_exam", "chinese_driving_rule", "chinese_food_culture",
    "chinese_foreign_policy", "chinese_history", "chinese_literature",
    "chinese_teacher_qualification", "construction_project_management", "elementary_chinese",
    "elementary_commonsense", "ethnology", "high_school_politics", "modern_chinese",
    "traditional_chinese_medicine",
})  # fmt: skip


@dataclass(frozen=True)
class SubjectName:
    """What a subject is called in prompts, and its category."""

    title: str
    category: str


@cache
def subjects_of(exam: str) -> dict[str, SubjectName]:
    """Return file name -> subject of ceval, cmmlu, mmlu or m3ke; empty for other benchmarks."""
    table = yaml.safe_load(files("hanlin.evaluation").joinpath("subjects.yaml").read_text("utf-8"))
    return {key: SubjectName(*value) for key, value in table.get(exam, {}).items()}


def missing_subjects(exam: str, found: Collection[str]) -> list[str]:
    """Return the subjects that an exam has and the data does not, in the authors' order."""
    return [key for key in subjects_of(exam) if key not in found]
