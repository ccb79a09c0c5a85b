"""How was a model trained, and on what? From the records of the stages that led to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hanlin.weights.card.words import cell, table

if TYPE_CHECKING:
    from hanlin.weights.card.card import ModelCard

MACHINE = ("processor", "cpus", "gpu", "gpus", "memory_gb")
VERSIONS = ("hanlin", "torch", "transformers", "peft")
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def training_section(card: ModelCard) -> list[str]:
    """Return the stages, their settings and what they reached."""
    if card.lineage is None:
        return ["Not recorded: this card was written without a run."]
    curves = {c["stage"]: c for c in card.report.get("curves", []) if c["quantity"] == "loss"}
    rows = [
        [
            cell(record["id"]),
            cell(_what(record, card.adapters.get(record["id"]))),
            cell(_size(record["config"]["schedule"], record["config"].get("processes", 1))),
            cell(_speed(record["config"]["schedule"])),
            _reached(curves.get(record["id"])),
        ]
        for record in card.lineage.records
        if isinstance((record.get("config") or {}).get("schedule"), dict)
    ]
    header = ["stage", "method", "batch", "learning rate", "seen, loss"]
    lines = table(header, rows) if rows else ["Nothing was trained."]
    order = " → ".join(f"{cell(r['id'])} ({cell(r['stage'])})" for r in card.lineage.records)
    lines = [f"Stages that led to it: {order}.", "", *lines]
    return [*lines, *_vocabulary(card), "", _made_with(card)]


def data_section(card: ModelCard) -> list[str]:
    """Return what was trained on, as the token stores count it."""
    rows = [
        [
            cell(stage),
            cell(str(row.get("name", ""))),
            cell(str(row.get("language") or "–")),
            _count(row.get("documents")),
            _count(row.get("trained_tokens")),
            _share(row, sources),
        ]
        for stage, sources in card.stores.items()
        for row in sources
    ]
    if not rows:
        return ["Not recorded."]
    header = ["stage", "source", "language", "rows", "tokens in the loss", "share of training"]
    return table(header, rows)


def _what(record: dict[str, Any], adapter: dict[str, Any] | None) -> str:
    """Return the method; of an adapter what its own file says: it may have begun with another."""
    method = str(record["config"].get("method") or record["stage"])
    if adapter is None:
        return method
    modules = adapter.get("target_modules")
    paths = [modules] if isinstance(modules, str) else modules or []
    names = sorted({str(path).rsplit(".", 1)[-1] for path in paths})
    where = "every linear layer" if set(names) >= LINEAR else ", ".join(names)
    text = f"{method}, LoRA rank {adapter.get('r')}, alpha {adapter.get('lora_alpha') or 0:g}"
    return f"{text} on {where}" if where else text


def _size(schedule: dict[str, Any], processes: int) -> str:
    rows = schedule["micro_batch_size"] * schedule["gradient_accumulation_steps"] * processes
    return f"{rows} x {schedule['seq_len']} tokens"


def _speed(schedule: dict[str, Any]) -> str:
    parts = [f"{schedule['learning_rate']:g}", schedule.get("scheduler"), schedule.get("precision")]
    return ", ".join(str(part) for part in parts if part and part != "auto")


def _reached(curve: dict[str, Any] | None) -> str:
    if curve is None:
        return "not recorded"
    points = curve["series"][0]["points"] if curve["series"] else []
    tokens = f", {_count(curve['tokens'])} tokens" if curve.get("tokens") else ""
    loss = f"; loss {points[0][1]:.3f} → {points[-1][1]:.3f}" if points else ""
    return f"{curve['steps']:.0f} steps{tokens}{loss}"


def _vocabulary(card: ModelCard) -> list[str]:
    is_grown = card.lineage and any(r["stage"] == "grow" for r in card.lineage.records)
    added = dict(card.report.get("vocabulary") or []).get("added")
    return (
        ["", f"The base model's vocabulary got {added:,} more pieces."]
        if is_grown and added
        else []
    )


def _made_with(card: ModelCard) -> str:
    facts = card.report.get("environment") or {}
    versions = ", ".join(f"{key} {facts[key]}" for key in VERSIONS if key in facts)
    machine = ", ".join(f"{key} {facts[key]}" for key in MACHINE if key in facts)
    seed = card.report.get("seed")
    parts = [versions, machine, f"seed {seed}" if seed is not None else ""]
    return cell("Made with " + "; ".join(part for part in parts if part)) + "."


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _share(row: dict[str, Any], sources: list[dict[str, Any]]) -> str:
    weights = [float(other.get("weight") or 0) for other in sources]
    return f"{100 * float(row.get('weight') or 0) / sum(weights):.0f} %" if sum(weights) else "–"
