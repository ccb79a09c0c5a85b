"""How are questions typed or piped in? Line by line, or several lines as one question.

A line that ends with `\\` goes on in the next one; what stands between two lines with three
quotation marks is one question.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from hanlin.cli import console
from hanlin.core.errors import InputError

QUOTES = '"""'
BYTE_ORDER_MARK = "\ufeff"
ENCODINGS = ("utf-8", "gb18030", "big5")
HISTORY_LENGTH = 1000

ReadLine = Callable[[str], str | None]  # prompt -> the line without its end; None at the end


def questions(read: ReadLine) -> Iterator[str]:
    """Yield what was asked, without empty questions; a block that is never closed ends with all."""
    while (line := read("> ")) is not None:
        line = line.strip()
        if line.startswith(QUOTES):
            line = _block(line.removeprefix(QUOTES), read)
        while line.endswith("\\"):
            more = read("... ")
            line = line[:-1] + ("" if more is None else "\n" + more.rstrip())
        if line.strip():
            yield line.strip()


def _block(first: str, read: ReadLine) -> str:
    lines, line = [], first
    while not line.rstrip().endswith(QUOTES):
        lines.append(line)
        more = read("... ")
        if more is None:
            return "\n".join(lines)
        line = more
    return "\n".join([*lines, line.rstrip().removesuffix(QUOTES)])


def piped_lines(encoding: str) -> ReadLine:
    """Return what reads the standard input, as it comes.

    Raises:
        InputError: (by the function) a line is not in this encoding.
    """
    number = 0

    def read(_prompt: str) -> str | None:
        nonlocal number
        data = sys.stdin.buffer.readline()
        number += 1
        if not data:
            return None
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            raise not_in(encoding, data, f"line {number} of the standard input") from error
        return text.rstrip("\r\n").removeprefix(BYTE_ORDER_MARK)

    return read


def not_in(encoding: str, data: bytes, where: str) -> InputError:
    """Return the error for bytes that are in another encoding, with a guess which."""
    others = [name for name in ENCODINGS if name != encoding and _is_in(name, data)]
    guess = f"; as {others[0]} it reads: {data.decode(others[0]).strip()[:40]}" if others else ""
    return InputError(
        f"{where} is not {encoding}",
        why=f"it has the bytes {data[:12].hex(' ')}{guess}",
        fix=f"add --encoding {others[0]}" if others else "convert the text to UTF-8 first",
    )


def _is_in(encoding: str, data: bytes) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def typed_lines() -> ReadLine:
    """Return what reads from a terminal, with line editing and history where Python has them.

    Ctrl-D ends; Ctrl-C clears the line, and ends where the line is empty for the second time.
    """
    _open_history()
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")
    console.note("/help lists the commands, /quit leaves.")
    interrupted = False

    def read(prompt: str) -> str | None:
        nonlocal interrupted
        while True:
            try:
                line = input(prompt)
            except EOFError:
                return None
            except KeyboardInterrupt:
                if interrupted:
                    return None
                interrupted = True
                console.note("\n(once more, Ctrl-D or /quit leaves)")
                prompt = "> "
                continue
            interrupted = False
            if not any("\ud800" <= character <= "\udfff" for character in line):
                return line
            console.error(f"error: the line has bytes that are not {sys.stdin.encoding}; again:")

    return read


def _open_history() -> None:
    """Read the lines typed in earlier chats; new ones are written at the end.

    HANLIN_HISTORY names the file; "off" keeps none.
    """
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = os.environ.get("HANLIN_HISTORY") or str(Path(state) / "hanlin" / "chat_history")
    with contextlib.suppress(ImportError):
        import atexit
        import readline  # importing it gives input() its editing keys

        readline.set_auto_history(True)
        readline.set_history_length(HISTORY_LENGTH)
        if name == "off":
            return
        file = Path(name).expanduser()
        with contextlib.suppress(OSError):
            readline.read_history_file(file)
        atexit.register(_write_history, file)


def _write_history(file: Path) -> None:
    import readline

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        readline.write_history_file(file)
    except OSError as error:
        console.note(f"(the history could not be written to {file}: {error.strerror})")
