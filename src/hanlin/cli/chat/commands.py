"""What do the lines do that begin with a slash?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.cli import console
from hanlin.cli.chat.settings import parameters, set_parameter
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Generator

    from hanlin.inference.conversation import Talk
    from hanlin.inference.engine import StreamEvent

HELP = """/help                 this list
/reset                begin a new conversation
/system TEXT          set what the system message says; without TEXT there is none
/retry                answer the last question again; drawn answers get the next seed
/edit TEXT            change the last question and answer it
/undo                 take the last question and its answer back
/params [NAME VALUE]  show the parameters, or set one
/save FILE            write the conversation and its parameters to a JSON file
/load FILE            go on with a conversation that was saved
/quit                 leave (or Ctrl-D)
Ctrl-C stops an answer. A line that ends with \\ goes on in the next one, and what stands
between two times \"\"\" is one question."""


class Chat:
    """A conversation and the commands that change it.

    Attributes:
        talk: the conversation; /load puts another one here.
        is_over: /quit was typed.
    """

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.is_over = False

    def obey(self, line: str) -> Generator[StreamEvent] | None:
        """Carry out a command; return the answer that it asks for, if it asks for one.

        Raises:
            ConfigError: there is no such command, or it cannot be carried out so.
            InputError: there is nothing it could work on.
        """
        name, _, rest = line.partition(" ")
        known = {
            "/help": self._help, "/reset": self._reset, "/system": self._system,
            "/retry": self._retry, "/edit": self._edit, "/undo": self._undo,
            "/params": self._params, "/save": self._save, "/load": self._load, "/quit": self._quit,
        }  # fmt: skip
        if name not in known:
            raise ConfigError(
                f"unknown command {name}",
                fix=did_you_mean(name, known) or "/help lists the commands",
            )
        return known[name](rest.strip())

    def _help(self, _rest: str) -> None:
        console.note(HELP)

    def _reset(self, _rest: str) -> None:
        self.talk.reset()
        console.note("A new conversation.")

    def _system(self, rest: str) -> None:
        self.talk.system = rest or None
        console.note(f"System message: {rest or 'none'}")

    def _retry(self, _rest: str) -> Generator[StreamEvent]:
        sampling = self.talk.sampling
        if sampling.temperature == 0:
            console.note("(temperature is 0: the same parameters give the same answer)")
        return self.talk.retry()

    def _edit(self, rest: str) -> Generator[StreamEvent]:
        if not rest:
            raise ConfigError("/edit needs the new question", fix="/edit TEXT")
        self.talk.undo()
        return self.talk.events(rest)

    def _undo(self, _rest: str) -> None:
        console.note(f"Taken back: {self.talk.undo()}")

    def _params(self, rest: str) -> None:
        if not rest:
            rows = [f"{name} {_shown(value)}" for name, value in parameters(self.talk).items()]
            console.note("\n".join([*rows, f"prompt format {self.talk.format.name}"]))
            return
        name, _, value = rest.partition(" ")
        if not value:
            raise ConfigError(f"/params {name} has no value", fix=f"/params {name} VALUE")
        set_parameter(self.talk, name, value)

    def _save(self, rest: str) -> None:
        from hanlin.core.files import write_json
        from hanlin.inference.saved_talk import read_saved_talk

        file = _file(rest, "/save")
        if file.exists():
            try:
                read_saved_talk(file)  # a conversation may be saved again, nothing else replaced
            except InputError as error:
                raise InputError(
                    f"{file} exists and is no saved conversation",
                    why="nothing else is overwritten",
                    fix="give another name: /save FILE",
                ) from error
        write_json(file, self.talk.to_json())
        console.note(f"Saved to {file}")

    def _load(self, rest: str) -> None:
        from hanlin.inference.conversation import Talk
        from hanlin.inference.saved_talk import read_saved_talk

        file = _file(rest, "/load")
        self.talk = Talk.from_saved(self.talk.engine, read_saved_talk(file))
        for message in self.talk.messages:
            console.note(f"{'> ' if message.role == 'user' else ''}{message.content}")

    def _quit(self, _rest: str) -> None:
        self.is_over = True


def _file(rest: str, command: str) -> Path:
    if not rest:
        raise ConfigError(f"{command} needs a file", fix=f"{command} FILE")
    return Path(rest).expanduser()


def _shown(value: object) -> str:
    return "all" if value is None else "none" if value == [] else str(value)
