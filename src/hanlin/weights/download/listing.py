"""Where is a repository: on the hub or a mirror, on ModelScope, a web server or this machine?"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import list_files
from hanlin.weights.checksums import LISTS, read_list
from hanlin.weights.download import servers
from hanlin.weights.download.connection import Connection, DroppedError, Patience, RefusedError
from hanlin.weights.download.repository import RemoteFile, Repository, checked

log = logging.getLogger(__name__)

HUB, MODELSCOPE = "https://huggingface.co", "https://modelscope.cn"
HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)


def find_repository(
    name: str,
    *,
    source: str = "auto",
    endpoint: str | None = None,
    revision: str | None = None,
    patience: Patience | None = None,
) -> Repository:
    """List a repository.

    Args:
        name: `owner/name`, an http(s) or `file://` address of a folder, or a local folder.
        source: "hub" or "modelscope": where `owner/name` is; "auto": on the hub, unless the name
            is an address or a folder that is there.
        endpoint: address of the server; None: `HF_ENDPOINT` or `MODELSCOPE_ENDPOINT`.
        revision: branch, tag or commit; None: the main branch.
        patience: how long to insist.

    Raises:
        ConfigError: a wrong name or address.
        InputError: it is not there, may not be read, cannot be reached, or names a file that
            would leave the folder.
    """
    patience = patience or Patience()
    folder = _local_folder(name) if source == "auto" else None
    is_address = source == "auto" and name.startswith(("http://", "https://"))
    if folder is None and not is_address:
        return checked(
            _on_hub(name, source=source, endpoint=endpoint, revision=revision, patience=patience)
        )
    for option, given in (("--endpoint", endpoint), ("--revision", revision)):
        if given:
            raise ConfigError(
                f"{option} does not go with {name}",
                why="only owner/name on the hub or on ModelScope has one",
                fix=f"leave {option} out",
            )
    if folder is not None:
        return checked(_list_folder(name, folder))
    connection = Connection(_address(name), patience=patience)
    return checked(_ask(lambda: servers.list_web(name, connection), name, connection))


def _on_hub(
    name: str, *, source: str, endpoint: str | None, revision: str | None, patience: Patience
) -> Repository:
    if not HUB_ID.fullmatch(name):
        raise ConfigError(
            f"{name} is neither a folder, an address nor a name on the hub",
            why="a name on the hub is owner/name",
            fix="check it; hanlin weights download --help shows each kind",
        )
    _refuse_offline(name)
    if source == "modelscope":
        server = endpoint or os.environ.get("MODELSCOPE_ENDPOINT") or MODELSCOPE
        list_, main, variable = servers.list_modelscope, "master", "MODELSCOPE_API_TOKEN"
    else:
        server = endpoint or os.environ.get("HF_ENDPOINT") or HUB
        list_, main, variable = servers.list_hub, "main", "HF_TOKEN"
    connection = Connection(
        _address(server), secret=_secret(variable), token_variable=variable, patience=patience
    )
    if connection.secret and not connection.is_private:
        log.warning("%s is not sent to %s: anyone on the way could read it", variable, server)
    return _ask(lambda: list_(name, connection, revision or main), name, connection)


def _ask(list_: Callable[[], Repository], name: str, connection: Connection) -> Repository:
    try:
        return list_()
    except (DroppedError, RefusedError) as error:
        raise servers.explain(error, name=name, connection=connection) from error


def _list_folder(name: str, folder: Path) -> Repository:
    if not folder.is_dir():
        raise InputError(
            f"{name} is a file, not a folder" if folder.exists() else f"{name} does not exist",
            fix="give the folder that holds the files",
        )
    list_file = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    digests = read_list(list_file) if list_file else {}
    files = [
        RemoteFile(path, file.stat().st_size, digests.get(path), str(file))
        for file in list_files(folder)
        if not _is_hidden(path := file.relative_to(folder).as_posix())
    ]
    missing = sorted(digests.keys() - {file.path for file in files})
    if missing:
        raise InputError(
            f"{name} lacks {len(missing)} of the files in its list of digests, first {missing[0]}",
            fix="copy or download it again",
        )
    return Repository(name, str(folder), "", tuple(files), None)


def _is_hidden(path: str) -> bool:
    """Tell whether a file is in a folder such as `.git` or `.cache`, or half written."""
    *folders, last = path.split("/")
    return any(part.startswith(".") for part in folders) or last.endswith(".part")


def _local_folder(name: str) -> Path | None:
    """Return the folder that a name means on this machine, None for a name on a server."""
    if name.startswith("file://"):
        place = urlsplit(name)
        if place.netloc not in ("", "localhost"):
            raise ConfigError(
                f"{name} names another machine ({place.netloc})", fix="write file:///FOLDER"
            )
        return Path(unquote(place.path))
    path = Path(name).expanduser()
    return path if path.exists() else None


def _address(text: str) -> str:
    """Return the address of a server without a slash at its end.

    Raises:
        ConfigError: it is none, or has a password in it.
    """
    try:
        place = urlsplit(text)
        is_good = place.scheme in ("http", "https") and bool(place.hostname)
        has_password = "@" in place.netloc
    except ValueError:
        is_good = has_password = False
    if has_password:
        raise ConfigError(
            "an address must not hold a user name or a password",
            why="it would be seen in logs and in the list of processes",
            fix="set HF_TOKEN instead",
        )
    if not is_good or not text.isprintable() or " " in text:
        raise ConfigError(
            f"{text} is no address of a server", fix="write it as https://hf-mirror.com"
        )
    return text.rstrip("/")


def _secret(variable: str) -> dict[str, str]:
    """Return the headers that carry the token of an environment variable; {} without one."""
    token = os.environ.get(variable, "").strip()
    if not token:
        return {}
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ConfigError(
            f"{variable} holds something that is no token",
            why="a token is one word of ASCII characters",  # the token itself is never shown
            fix=f"set {variable} again, without spaces and line ends",
        )
    cookie = {} if variable == "HF_TOKEN" else {"Cookie": f"m_session_id={token}"}
    return {"Authorization": f"Bearer {token}", **cookie}


def _refuse_offline(name: str) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise InputError(
            f"{name} cannot be downloaded: HF_HUB_OFFLINE is set",
            why="it forbids every connection to a hub",
            fix="unset HF_HUB_OFFLINE, or give a local folder",
        )
