"""How do the hub, ModelScope and a web server list a repository, and what does a refusal mean?"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from hanlin.core.errors import InputError
from hanlin.weights.checksums import LISTS, Digest, parse_list
from hanlin.weights.download.connection import Connection, DroppedError, RefusedError
from hanlin.weights.download.repository import RemoteFile, Repository

OTHER_WAYS = (
    "give --endpoint https://hf-mirror.com (a mirror of the hub; or set HF_ENDPOINT), "
    "or --from modelscope"
)


def list_hub(name: str, connection: Connection, revision: str) -> Repository:
    """List with the calls that the hub's own client makes."""
    base = connection.origin
    wanted = quote(revision, safe="")
    info = connection.read_json(f"{base}/api/models/{name}/revision/{wanted}?blobs=true")
    rows = _rows(info, "siblings", connection)
    commit = str(info.get("sha") or revision)
    files = []
    for row in rows:
        path = str(row.get("rfilename", ""))
        address = f"{base}/{name}/resolve/{quote(commit, safe='')}/{quote(path)}"
        size, digest = row.get("size"), _hub_digest(row)
        if not isinstance(size, int) or digest is None:  # a mirror that leaves it out
            size, digest = _asked(address, connection)
        files.append(RemoteFile(path, size, digest, address))
    return Repository(name, base, commit, tuple(files), connection)


def _hub_digest(row: dict[str, Any]) -> Digest | None:
    large = row.get("lfs")
    if isinstance(large, dict):
        return _digest(large.get("sha256"))
    return _digest(row.get("blobId"))


def _digest(digits: object) -> Digest | None:
    """Tell from its length what a digest of the hub is."""
    text = str(digits or "").removeprefix("W/").strip('"').lower()
    if re.fullmatch("[0-9a-f]{64}", text):
        return Digest("sha256", text)
    return Digest("git", text) if re.fullmatch("[0-9a-f]{40}", text) else None


def _asked(address: str, connection: Connection) -> tuple[int, Digest | None]:
    """Return size and digest as the headers of a file have them."""
    headers = connection.head(address)
    size = headers.get("x-linked-size") or headers.get("content-length") or ""
    if not size.isdecimal():
        raise InputError(
            f"{address}: the server does not say how large the file is",
            why="without it neither the space nor the end of the file can be checked",
            fix=OTHER_WAYS,
        )
    return int(size), _digest(headers.get("x-linked-etag") or headers.get("etag"))


def list_modelscope(name: str, connection: Connection, revision: str) -> Repository:
    """List with the calls that ModelScope's own client makes (modelscope-hub 0.5)."""
    base, wanted = f"{connection.origin}/api/v1/models/{name}/repo", quote(revision, safe="")
    answer = connection.read_json(f"{base}/files?Revision={wanted}&Recursive=True")
    data = answer.get("Data") if isinstance(answer, dict) else None
    files = [
        RemoteFile(
            path=str(row.get("Path", "")),
            size_bytes=int(row.get("Size") or 0),
            digest=_digest(row.get("Sha256")),
            address=f"{base}?Revision={wanted}&FilePath={quote(str(row.get('Path', '')), safe='')}",
        )
        for row in _rows(data, "Files", connection)
        if row.get("Type") != "tree"
    ]
    return Repository(name, connection.origin, revision, tuple(files), connection)


def list_web(name: str, connection: Connection) -> Repository:
    """List a folder of any web server by the list of digests in it."""
    base = connection.origin
    for list_name in LISTS:
        try:
            data = connection.read(f"{base}/{list_name}")
        except RefusedError as error:
            if error.status in (403, 404):
                continue
            raise
        listed = parse_list(data)
        if not listed:
            raise InputError(
                f"{base}/{list_name} is no list of digests",
                why="its lines are not '<hex digest>  <file name>'",
                fix="make it again on the server: sha256sum * > SHA256SUMS",
            )
        files = [
            RemoteFile(path, _asked(address, connection)[0], digest, address)
            for path, digest in dict(listed).items()
            if (address := f"{base}/{quote(path)}")
        ]
        return Repository(name, base, "", tuple(files), connection)
    raise InputError(
        f"{base} has none of {', '.join(LISTS)}",
        why="a web server has no list of its files, and without digests none could be checked",
        fix="make one on the server (sha256sum * > SHA256SUMS); a repository of the hub is given "
        "as owner/name",
    )


def _rows(answer: object, key: str, connection: Connection) -> list[dict[str, Any]]:
    """Return the files that an answer lists."""
    rows = answer.get(key) if isinstance(answer, dict) else None
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows
    raise InputError(
        f"{connection.origin} does not answer as a hub does",
        why="its answer is not the JSON that lists the files of a repository",
        fix=f"check the address, and that no login page of a network stands between; {OTHER_WAYS}",
    )


def explain(error: DroppedError | RefusedError, *, name: str, connection: Connection) -> InputError:
    """Say what a server's refusal or silence means, and what to do."""
    origin, variable = connection.origin, connection.token_variable
    ways = f"; or {OTHER_WAYS}" if variable else ""
    if isinstance(error, DroppedError):
        is_busy = str(error).startswith("HTTP")
        return InputError(
            f"{origin} is too busy" if is_busy else f"{origin} cannot be reached",
            why=f"{error} (after several tries)",
            fix=f"repeat the command: it goes on where it stopped{ways}",
        )
    if error.code == "RevisionNotFound":
        return InputError(
            f"{name} has no such revision", why=str(error), fix=f"see {origin}/{name}/tree/main"
        )
    if variable and (error.status == 403 or error.code == "GatedRepo"):
        return InputError(
            f"{name} may not be read: {error}",
            why="its owner wants a license to be accepted first, or the token may not read it",
            fix=f"accept it at {origin}/{name}, then set {variable} to a token of that account",
        )
    if variable and error.status in (401, 404):
        return InputError(
            f"{origin} has no {name}, or it is private: {error}",
            why=f"the token in {variable} may not see it"
            if connection.secret
            else f"no {variable} is set",
            fix=f"check the name; for a private one set {variable} to a token that may read it",
        )
    return InputError(f"{origin} refused {name}: {error}", fix=f"check the address{ways}")
