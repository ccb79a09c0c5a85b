"""Which of the user's texts does a quantization look at, and which is it measured on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.data.readers import read_conversations, read_documents

PROSE = (  # measured on where the user names no text
    "A map is a promise about places. Whoever follows it trusts that the river still bends where "
    "the line bends, that the bridge has not been washed away, and that the village behind the "
    "hill has kept its name. Most maps keep that promise for a few years; then roads are widened, "
    "forests are cleared, and the paper slowly becomes a picture of the past.",
    "地图是关于地方的一种承诺。照着它走路的人相信，河流仍在线条转弯的地方转弯，桥没有被水冲走，"
    "山后的村子也还叫原来的名字。大多数地图能守住这个承诺好几年；后来道路拓宽了，树林砍掉了，"
    "纸上的东西就慢慢变成了从前的样子。",
)
PROBE_BYTES = 20_000  # bits per byte of so much text tell differences of a percent, in seconds
HELD_OUT_EVERY = 5  # of the rows, one in so many is never calibrated on
MIN_ROWS = 10


@dataclass(frozen=True)
class CalibrationTexts:
    """The rows of a file, parted.

    Attributes:
        calibration: what activations are computed on.
        held_out: what bits per byte are measured on, before and after.
    """

    calibration: tuple[str, ...]
    held_out: tuple[str, ...]


def read_probe(path: Path, *, max_bytes: int = PROBE_BYTES) -> list[str]:
    """Return the first texts of a file, to measure bits per byte on.

    Args:
        path: documents or conversations, in any format that `hanlin data inspect` knows.
        max_bytes: so much of them, whole texts; the first one always, and it is cut.

    Raises:
        InputError: the file is missing or holds no text.
    """
    return _up_to(_read_texts(path), max_bytes)


def read_calibration(path: Path, *, rows: int, max_bytes: int = PROBE_BYTES) -> CalibrationTexts:
    """Part the rows of a file: one in five is held out, the others calibrate.

    Args:
        path: as `read_probe`.
        rows: calibrate on at most this many, spread evenly over the file.
        max_bytes: of the held-out texts.

    Raises:
        InputError: the file is missing, or has too few rows to part them.
    """
    texts = _read_texts(path)
    if len(texts) < MIN_ROWS:
        raise InputError(
            f"{path} has {len(texts)} rows with text, at least {MIN_ROWS} are needed",
            why=f"one in {HELD_OUT_EVERY} is held out to measure what quantizing costs",
            fix="give a file with more rows, of the kind that the model will work on",
        )
    held_out = texts[::HELD_OUT_EVERY]
    others = [text for number, text in enumerate(texts) if number % HELD_OUT_EVERY]
    step = max(1, len(others) // rows)
    return CalibrationTexts(tuple(others[::step][:rows]), tuple(_up_to(held_out, max_bytes)))


def _read_texts(path: Path) -> list[str]:
    try:
        texts = [document.text for document in read_documents(path)]
    except InputError as error:
        try:
            dialogues = list(read_conversations(path))
        except InputError:
            raise error from None
        texts = ["\n".join(message.content for message in d.messages) for d in dialogues]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise InputError(
            f"there is no text in {path}",
            why="every row is empty",
            fix="give a file of the kind that the model will work on",
        )
    return texts


def _up_to(texts: Sequence[str], max_bytes: int) -> list[str]:
    chosen: list[str] = []
    left = max_bytes
    for text in texts:
        size = len(text.encode())
        if size > left:
            break
        chosen.append(text)
        left -= size
    return chosen or [texts[0].encode()[:max_bytes].decode(errors="ignore")]
