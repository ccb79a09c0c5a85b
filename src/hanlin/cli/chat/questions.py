"""How is a file of questions answered? In batches, each question a conversation of its own.

Answers are appended to a hidden file beside the result, batch by batch; the same command goes on
behind the last whole batch. Batches are cut the same way each time, so that an answer does not
depend on an interruption.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.cli import console
from hanlin.cli.chat.typed import BYTE_ORDER_MARK, not_in
from hanlin.core.errors import InputError
from hanlin.core.files import atomic_file, os_error, write_atomic
from hanlin.core.records import Message
from hanlin.core.stage import derive_seed

if TYPE_CHECKING:
    from hanlin.inference.conversation import Talk
    from hanlin.inference.engine import Sampling


@dataclass(frozen=True)
class Asked:
    """A question of a file: what is said up to the answer, and where it stands."""

    line: int
    messages: tuple[Message, ...]


def read_questions(file: Path, *, encoding: str) -> list[Asked]:
    """Read a file of questions.

    Args:
        file: `.txt`: each line that is not empty; `.jsonl`: each row has `question`, or `messages`
            of which the last is a user's.
        encoding: of its text.

    Raises:
        InputError: it cannot be read, or a row is no question; the message has the line.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise os_error(error, file) from error
    rows = []
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            text = raw.decode(encoding).removeprefix(BYTE_ORDER_MARK).strip()
        except UnicodeDecodeError as error:
            raise not_in(encoding, raw, f"{file}:{number}") from error
        if text:
            is_json = file.suffix in (".jsonl", ".json")
            messages = _messages(text, f"{file}:{number}") if is_json else (Message("user", text),)
            rows.append(Asked(number, messages))
    if not rows:
        raise InputError(f"{file} has no question", fix="write one a line")
    return rows


def answer_file(
    open_talk: Callable[[], Talk],
    asked: Sequence[Asked],
    *,
    settings: dict[str, Any],
    out: Path,
    batch_size: int,
    force: bool,
) -> dict[str, Any]:
    """Answer questions into a file of JSON lines; return how many there were.

    Args:
        open_talk: loads the model; called when the questions are known to be good.
        asked: the questions.
        settings: what the answers depend on besides, for going on with the same ones only.
        out: one row for each question: line, question, answer, stopped_by, tokens; or an error.
        batch_size: questions that are answered at once.
        force: replace a result that is there.

    Raises:
        InputError: the result exists.
        ResourceError: it cannot be written.
    """
    if out.exists() and not force:
        raise InputError(
            f"{out} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another place for the result, or add --force to replace it",
        )
    talk = open_talk()
    key = _key(talk, asked, {**settings, "batch_size": batch_size})
    journal = out.with_name(f".{out.name}.answers")
    done = _go_on(journal, key, batch_size)
    if done:
        console.note(f"Going on behind {len(done)} answers.")
    progress = console.progress()
    for start in range(len(done), len(asked), batch_size):
        rows = _batch(talk, asked[start : start + batch_size], number=start // batch_size)
        _append(journal, rows)
        done += rows
        progress(len(done), len(asked), "questions")
    with atomic_file(out) as part:
        part.write_text("".join(map(_line, done)), encoding="utf-8")
    journal.unlink(missing_ok=True)
    failed = sum("error" in row for row in done)
    return {"questions": len(done), "answered": len(done) - failed, "failed": failed,
            "out": str(out)}  # fmt: skip


def _batch(talk: Talk, asked: Sequence[Asked], *, number: int) -> list[dict[str, Any]]:
    """Return a row for each question; one that is too long has an error instead of an answer."""
    rows: list[dict[str, Any]] = [
        {"line": one.line, "question": one.messages[-1].content} for one in asked
    ]
    prompts = {}
    for index, one in enumerate(asked):
        try:
            prompts[index] = _prompt(talk, one.messages)
        except InputError as error:
            rows[index]["error"] = error.what
    sampling = replace(talk.with_stops(), seed=derive_seed(talk.sampling.seed, f"batch/{number}"))
    for index, made in zip(
        prompts, talk.engine.generate(list(prompts.values()), sampling), strict=True
    ):
        rows[index] |= {
            "answer": made.text.strip(), "stopped_by": made.stopped_by, "tokens": len(made.ids),
        }  # fmt: skip
    return rows


def _prompt(talk: Talk, messages: Sequence[Message]) -> list[int]:
    """Return the ids of one question; its own system message goes before the one of all."""
    before, system = talk.system, [m.content for m in messages if m.role == "system"]
    talk.reset()
    for message in messages[:-1]:
        if message.role != "system":
            talk.add(message)
    try:
        talk.system = "\n".join(system) or before
        return talk.prompt(messages[-1].content)
    finally:
        talk.system = before


def _messages(text: str, where: str) -> tuple[Message, ...]:
    try:
        row = json.loads(text)
        if isinstance(row.get("question"), str):
            return (Message("user", row["question"]),)
        messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
        known = all(
            m.role in ("system", "user", "assistant") and isinstance(m.content, str)
            for m in messages
        )
        if not known or not messages or messages[-1].role != "user":
            raise ValueError("the last of its messages is no question of a user")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{where} is no question",
            why=f"it has no {error}" if isinstance(error, KeyError) else str(error),
            fix='write {"question": "..."} or {"messages": [{"role": "user", "content": "..."}]}',
        ) from error
    return messages


def _key(talk: Talk, asked: Sequence[Asked], settings: dict[str, Any]) -> str:
    sampling: Sampling = talk.with_stops()
    return json.dumps({
        **settings, "sampling": asdict(sampling), "system": talk.system,
        "memory_turns": talk.memory_turns,
        "asked": derive_seed(0, repr([(one.line, one.messages) for one in asked])),
    })  # fmt: skip


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _go_on(journal: Path, key: str, batch_size: int) -> list[dict[str, Any]]:
    """Return the rows of whole batches that the same command left; else begin a new journal."""
    data = journal.read_bytes() if journal.exists() else b""
    first, *whole = data.split(b"\n")[:-1] or [b""]  # what stands behind the last end is torn
    rows = whole[: len(whole) - len(whole) % batch_size] if first == key.encode() else []
    write_atomic(journal, b"".join(line + b"\n" for line in (key.encode(), *rows)))
    return [json.loads(line) for line in rows]


def _append(journal: Path, rows: Sequence[dict[str, Any]]) -> None:
    try:
        with journal.open("a", encoding="utf-8") as stream:
            stream.writelines(map(_line, rows))
    except OSError as error:
        raise os_error(error, journal) from error
