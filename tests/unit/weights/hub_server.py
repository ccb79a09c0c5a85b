"""A real server on 127.0.0.1 that speaks the parts of the hub's and ModelScope's API we use.

It can do what real lines and servers do: break in the middle, send damaged bytes, be busy, ignore
ranges, want a token, send large files to another server.
"""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"
LARGE = (".safetensors", ".bin", ".gguf")


class Behavior:
    """What the server holds, how it misbehaves, and what it was asked."""

    def __init__(self, files):
        self.files = dict(files)
        self.requests = []
        self.break_after = None  # bytes after which every answer with a file ends
        self.damage = 0  # answers with a file whose last byte is wrong
        self.busy = 0  # answers that are 503
        self.retry_after = None
        self.has_ranges = True
        self.has_blobs = True  # sizes and digests in the list of files
        self.token = None  # what Authorization must hold
        self.error = None  # (status, X-Error-Code) of every answer
        self.elsewhere = None  # address to which large files are sent
        self.answer = None  # bytes of every answer


@contextmanager
def serve(files):
    """Yield (address, behavior) of a server with the repository `owner/name`."""
    behavior = Behavior(files)
    handler = type("Handler", (_Handler,), {"behavior": behavior})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", behavior
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        b = self.behavior
        b.requests.append((self.command, self.path, dict(self.headers)))
        if b.busy:
            b.busy -= 1
            extra = {} if b.retry_after is None else {"Retry-After": str(b.retry_after)}
            self.send(503, b"", **extra)
        elif b.error:
            self.send(b.error[0], b"", **{"X-Error-Code": b.error[1]})
        elif b.answer is not None:
            self.send(200, b.answer)
        elif b.token and self.headers.get("Authorization") != f"Bearer {b.token}":
            self.send(401, b"", **{"X-Error-Code": "RepoNotFound"})
        else:
            self.reply()

    def reply(self):
        place = urlsplit(self.path)
        path, query = unquote(place.path), parse_qs(place.query)
        if path.startswith("/api/v1/models/owner/name/repo"):
            return self.modelscope(path, query)
        if path == "/api/models/owner/name":
            return self.info("main", query)
        if path.startswith("/api/models/owner/name/tree/"):
            return self.tree()
        if path.startswith("/api/models/owner/name/revision/"):
            return self.info(path.rpartition("/")[2], query)
        if path.startswith("/owner/name/resolve/"):
            return self.file(path.split("/", 5)[5])
        if path.startswith("/plain/"):
            return self.file(path.removeprefix("/plain/"), is_plain=True)
        return self.send(404, b"", **{"X-Error-Code": "RepoNotFound"})

    def info(self, revision, query):
        if revision not in ("main", COMMIT, "v1"):
            return self.send(404, b"", **{"X-Error-Code": "RevisionNotFound"})
        siblings = []
        for path, data in self.behavior.files.items():
            row = {"rfilename": path}
            if self.behavior.has_blobs and "blobs" in query:
                row |= {"size": len(data), "blobId": git_sha1(data)}
                if path.endswith(LARGE):
                    digest = hashlib.sha256(data).hexdigest()
                    row["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
            siblings.append(row)
        info = {"id": "owner/name", "sha": COMMIT, "private": False, "siblings": siblings}
        return self.send(200, json.dumps(info).encode(), **{"Content-Type": "application/json"})

    def tree(self):
        """List as the hub's own client wants it."""
        rows = []
        for path, data in self.behavior.files.items():
            row = {"type": "file", "path": path, "size": len(data), "oid": git_sha1(data)}
            if path.endswith(LARGE):
                digest = hashlib.sha256(data).hexdigest()
                row["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 134}
            rows.append(row)
        return self.send(200, json.dumps(rows).encode(), **{"Content-Type": "application/json"})

    def modelscope(self, path, query):
        if path.endswith("/files"):
            folders = sorted({p.rpartition("/")[0] for p in self.behavior.files if "/" in p})
            rows = [{"Path": name, "Type": "tree", "Size": 0, "Sha256": ""} for name in folders]
            rows += [
                {"Path": p, "Type": "blob", "Size": len(d), "Sha256": hashlib.sha256(d).hexdigest()}
                for p, d in self.behavior.files.items()
            ]
            answer = {"Code": 200, "Success": True, "Data": {"Files": rows}}
            return self.send(200, json.dumps(answer).encode())
        return self.file(query["FilePath"][0])

    def file(self, path, is_plain=False):
        b = self.behavior
        if path not in b.files:
            return self.send(404, b"", **{"X-Error-Code": "EntryNotFound"})
        data = b.files[path]
        is_large = path.endswith(LARGE)
        headers = {"ETag": f'"{git_sha1(data)}"', "X-Repo-Commit": COMMIT}
        if is_large and not is_plain:
            headers |= {"X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                        "X-Linked-Size": str(len(data))}  # fmt: skip
            if b.elsewhere:
                location = f"{b.elsewhere}/plain/{path}"
                return self.send(302, b"", Location=location, **headers)
        status, start = 200, 0
        wanted = self.headers.get("Range")
        if wanted and b.has_ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                return self.send(416, b"")
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if b.damage and body and self.command == "GET":
            b.damage -= 1
            body = body[:-1] + bytes([body[-1] ^ 1])
        cut = None if b.break_after is None or not is_large else b.break_after
        return self.send(status, body, cut=cut, **headers)

    def send(self, status, body, cut=None, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body if cut is None else body[:cut])
            if cut is not None and cut < len(body):
                self.wfile.flush()
                self.close_connection = True


def git_sha1(data):
    """As `git hash-object` has it."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
