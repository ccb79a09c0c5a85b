"""What do fertility.json and the checks.json of exported files say?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.pipeline.report import words
from hanlin.pipeline.report.card import Evaluation, ExportCheck, FertilityBar, Segmentation
from hanlin.pipeline.report.folder import RunFolder, artifacts_of_kind

LEAST = 1e-6  # tokens per character: a token of a million characters is none
MEASURE, FALLEN_BACK = "tokens_per_character", "bytes_fallen_back_share"
SAID = {
    "size_bytes": "size",
    "token_ids_equal": "token ids equal",
    "chat_ids_equal": "ids of a chat prompt equal",
    "greedy_agreement": "greedy tokens equal",
    "max_logprob_difference": "largest difference of a log-probability",
    "kept_f16": "tensors kept in f16",
}


def fertility_bars(
    folder: RunFolder, evaluations: tuple[Evaluation, ...]
) -> tuple[FertilityBar, ...]:
    """Return tokens per character as the evaluation measured it, else as the tokenizer stage did.

    The evaluation comes first because its texts are unseen.
    """
    measured = [
        FertilityBar(row.language, model, value)
        for evaluation in evaluations
        for row in evaluation.rows
        if row.metric == MEASURE
        for model in evaluation.models
        if model in row.scores and (value := row.scores[model].value) is not None
    ]
    if measured:
        return tuple(measured)
    documents = [folder.read(path) for _, path in artifacts_of_kind(folder, "fertility")]
    return tuple(
        FertilityBar(language, tokenizer, float(measured[MEASURE]))
        for document in documents
        for language, tokenizer, measured in _measured(document)
    )


def _measured(document: object) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Read {language: {tokenizer: {"tokens_per_character": number}}}; other keys are counts."""
    for language, sides in document.items() if isinstance(document, dict) else ():
        for tokenizer, measured in sides.items() if isinstance(sides, dict) else ():
            if isinstance(measured, dict) and isinstance(measured.get(MEASURE), int | float):
                yield language, tokenizer, measured


def segmentations(folder: RunFolder) -> tuple[Segmentation, ...]:
    """Return how the tokenizer stage found each language to be cut, before and after it."""
    documents = [folder.read(path) for _, path in artifacts_of_kind(folder, "fertility")]
    return tuple(
        Segmentation(language, tokenizer, 1 / measured[MEASURE], _share(measured.get(FALLEN_BACK)))
        for document in documents
        for language, tokenizer, measured in _measured(document)
        if measured[MEASURE] > LEAST
    )


def _share(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def vocabulary_counts(folder: RunFolder) -> tuple[tuple[str, int], ...]:
    """Return what the tokenizer stage counted while it extended the vocabulary."""
    documents = [folder.read(path) for _, path in artifacts_of_kind(folder, "fertility")]
    return tuple(
        (name.replace("_", " "), value)
        for document in documents
        for name, value in (document.items() if isinstance(document, dict) else ())
        if isinstance(value, int) and not isinstance(value, bool) and name != "version"
    )


def export_checks(folder: RunFolder) -> tuple[ExportCheck, ...]:
    """Return the checks of every exported file, in the order of the stages."""
    checks: list[ExportCheck] = []
    for id_, path in artifacts_of_kind(folder, "gguf"):
        document = folder.read(path / "checks.json")
        for type_, found in document.items() if isinstance(document, dict) else ():
            if isinstance(found, dict):
                checks.append(_check(id_, path, type_, found))
    return tuple(checks)


def _check(stage: str, folder: Path, type_: str, found: dict[str, object]) -> ExportCheck:
    file = f"model-{type_}.gguf"
    is_equal = found.get("token_ids_equal")
    is_ok = is_equal and found.get("chat_ids_equal") is not False
    details = [(SAID.get(key, key.replace("_", " ")), _say(key, v)) for key, v in found.items()]
    return ExportCheck(
        stage=stage,
        file=file if (folder / file).exists() else type_,
        is_ok=is_ok if isinstance(is_equal, bool) and isinstance(is_ok, bool) else None,
        details=tuple((name, said) for name, said in details if said),
    )


def _say(key: str, value: object) -> str:
    """Write a measured value; "" leaves it out."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and key.endswith("_bytes"):
        return words.size(value)
    if isinstance(value, int | float) and key.endswith("_agreement"):
        return f"{100 * value:.1f} %"
    if isinstance(value, float):
        return f"{value:.2g} nats" if "logprob" in key else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)
