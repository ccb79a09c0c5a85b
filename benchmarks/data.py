"""How fast do rows become training rows, with how much memory, beside other tools?

    HANLIN_PEERS=/venvs python benchmarks/data.py PART...

PART is TOOL-KIND-PROCESSES: a tool (hanlin, bare, map, trl, llamafactory); whole (500 MB of text),
corpus (100 MB of it) or chat (200,000 conversations); and 1 or 2. segments: rows of the novels and
the laws, with and without KnowLM's overlap. A part that is named several times is run so often, in
the order given, and the median counts. Each part adds to results/data.json. Peers are found at
/venvs/venv-trl and /venvs/venv-llamafactory; `map` runs in the first, `bare` in ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from hanlin.core import environment
from hanlin.core.events import EventLog
from hanlin.core.files import read_json, write_json
from hanlin.core.stage import StageContext

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("HANLIN_DATA", HERE.parent.parent / "shared" / "data"))
PEERS = Path(os.environ.get("HANLIN_PEERS", "/opt"))
RESULT = HERE / "results" / "data.json"
TEXT_BYTES, ROWS, SEQ_LEN = 500_000_000, 200_000, 1024
FILES = {"whole": "corpus.jsonl", "corpus": "corpus-part.jsonl", "chat": "chat.jsonl"}
SHARES = {"whole": 1, "corpus": 5}  # of the text: the whole, a fifth


def work() -> Path:
    """Return the folder of inputs; they are made once."""
    folder = Path(os.environ.get("HANLIN_BENCH", tempfile.gettempdir())) / "hanlin-bench-data"
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_inputs(folder)
        (folder / "ready").touch()
    return folder


def make_inputs(folder: Path) -> None:
    """Write the corpus and the alpaca files, repeated; and a part of the corpus."""
    from hanlin.data.readers import read_documents
    from hanlin.tokenization.load import load

    load(SHARED / "tokenizers" / "llama" / "tokenizer.model").save(folder / "tokenizer")
    texts = [d.text for f in sorted((SHARED / "corpus").glob("*.*")) for d in read_documents(f)]
    size = sum(len(text.encode()) for text in texts)
    rows = [
        {key: row.get(key) or "" for key in ("instruction", "input", "output")}
        for file in sorted((SHARED / "instructions").glob("*.json"))
        if isinstance(value := load_json(file), list) and "instruction" in value[0]
        for row in value
    ]
    for kind, share in SHARES.items():
        with (folder / FILES[kind]).open("w", encoding="utf-8") as stream:
            for _ in range(max(1, round(TEXT_BYTES / share / size))):
                stream.writelines(line({"text": text}) for text in texts)
    with (folder / FILES["chat"]).open("w", encoding="utf-8") as stream:
        stream.writelines(line(rows[n % len(rows)]) for n in range(ROWS))


def load_json(file: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON document, None for JSON lines."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None


def line(row: dict[str, str]) -> str:
    """Return a JSON line."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def hanlin(kind: str, file: Path, tokenizer: Path, processes: int, folder: Path) -> dict[str, Any]:
    """Run Hanlin's stage in this process; the time holds reading, cleaning, writing, workers."""
    from hanlin.data import prepare_chat, prepare_corpus
    from hanlin.data.pack import PackedRows
    from hanlin.data.store import TokenStore

    stage = (prepare_corpus if kind == "corpus" else prepare_chat).STAGE
    values: dict[str, Any] = {
        "tokenizer": str(tokenizer), "workers": processes,
        "sources": [{"path": str(file), "name": "rows"}],
    }  # fmt: skip
    values |= (
        {"drop_duplicates": False} if kind == "corpus" else {"prompt": "alpaca", "seq_len": SEQ_LEN}
    )
    context = StageContext("bench", folder, 0, EventLog(folder / "events.jsonl"))
    started = time.perf_counter()
    stage.run(stage.config.model_validate(values), context)
    seconds = time.perf_counter() - started
    store = TokenStore.open(folder / "store")
    packed = PackedRows(store, seq_len=SEQ_LEN, seed=0)
    return {
        "seconds": seconds, "rows": store.sources[0].documents, "tokens": store.tokens,
        "useful": packed.fill, "packing_seconds": time.perf_counter() - started - seconds,
    }  # fmt: skip


class Memory(threading.Thread):
    """Watches the memory of a process and of all that it starts, shared pages counted once."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peak_bytes, self.is_over = root, 0, False

    def run(self) -> None:
        """Look ten times a second."""
        while not self.is_over:
            self.peak_bytes = max(self.peak_bytes, sum(map(proportional_bytes, tree(self.root))))
            time.sleep(0.1)


def tree(root: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return []
    return [root, *(pid for child in children for pid in tree(int(child)))]


def proportional_bytes(pid: int) -> int:
    """Return the memory of a process; what it shares is divided among the sharers."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(row.split()[1]) * 1024 for row in lines if row.startswith("Pss:"))


def measure(part: str) -> dict[str, Any]:
    """Run one part in a process of its own; return its figures."""
    tool, kind, count = part.split("-")
    folder, out = work(), Path(tempfile.mkdtemp(dir=work()))
    file = folder / FILES[kind]
    venv = PEERS / ("venv-llamafactory" if tool == "llamafactory" else "venv-trl")
    python = sys.executable if tool in ("hanlin", "bare") else str(venv / "bin" / "python")
    script = (
        [str(Path(__file__)), "--inside"] if tool == "hanlin" else [str(HERE / "data_peers.py")]
    )
    rows = "chat" if kind == "chat" else "corpus"
    arguments = [tool, rows, str(file), str(folder / "tokenizer"), count, str(out)]
    process = subprocess.Popen([python, *script, *arguments], stdout=subprocess.PIPE, text=True)
    memory = Memory(process.pid)
    memory.start()
    output, _ = process.communicate()
    memory.is_over = True
    shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        raise SystemExit(f"{part} ended with {process.returncode}")
    done = json.loads(output.strip().splitlines()[-1])
    text_bytes = text_bytes_of(file)
    return {
        "tool": tool, "kind": kind, "processes": int(count), **done, "text_bytes": text_bytes,
        "rows_per_s": round(done["rows"] / done["seconds"], 1),
        "mb_per_s": round(text_bytes / done["seconds"] / 1e6, 3),
        "peak_bytes": memory.peak_bytes,
    }  # fmt: skip


def segments() -> dict[str, Any]:
    """Return how full rows of 1,024 tokens are, and how many tokens KnowLM's rule trains twice."""
    found: dict[str, Any] = {}
    for name in ("novel_hongloumeng.txt", "novel_xiyouji.txt", "laws_zh.jsonl"):
        with tempfile.TemporaryDirectory(dir=work()) as folder:
            found[name] = segments_of(SHARED / "corpus" / name, Path(folder))
    return found


def segments_of(file: Path, folder: Path) -> dict[str, Any]:
    """Prepare a file whole, cut, and cut as KnowLM does; return counts and fills."""
    from hanlin.data import prepare_corpus
    from hanlin.data.pack import PackedRows
    from hanlin.data.store import TokenStore

    stores = {}
    cut: dict[str, Any] = {"seq_len": SEQ_LEN}
    for variant, settings in {"whole": {}, "cut": cut, "knowlm": cut | {"overlap": True}}.items():
        out = folder / variant
        out.mkdir()
        sources = [{"path": str(file), "name": "a"}]
        values = {"tokenizer": str(work() / "tokenizer"), "sources": sources, **settings}
        context = StageContext("bench", out, 0, EventLog(out / "events.jsonl"))
        prepare_corpus.STAGE.run(prepare_corpus.Config.model_validate(values), context)
        stores[variant] = TokenStore.open(out / "store")
    rows = PackedRows(stores["whole"], seq_len=SEQ_LEN, seed=0)
    count = {variant: store.sources[0].documents for variant, store in stores.items()}
    tokens = {variant: store.tokens for variant, store in stores.items()}
    return {
        "tokens": tokens["whole"],
        "documents": count["whole"],
        "segments": count["cut"],
        "fill_of_segments": round(tokens["cut"] / count["cut"] / SEQ_LEN, 4),
        "rows": rows.rows_per_epoch,
        "fill_of_rows": round(rows.fill, 4),
        "knowlm_segments": count["knowlm"],
        "knowlm_fill": round(tokens["knowlm"] / count["knowlm"] / SEQ_LEN, 4),
        "knowlm_tokens_twice": round(tokens["knowlm"] / tokens["cut"] - 1, 4),
    }


def text_bytes_of(file: Path) -> int:
    """Return the UTF-8 bytes of the values of a file of JSON lines."""
    with file.open(encoding="utf-8") as stream:
        rows = (json.loads(row) for row in stream)
        return sum(len(value.encode()) for row in rows for value in row.values())


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run with the median speed (of two, the faster one), with the speeds of all."""
    ordered = sorted(runs, key=lambda run: run["seconds"])
    speeds = [run["mb_per_s"] for run in runs]
    return {**ordered[(len(runs) - 1) // 2], "runs_mb_per_s": speeds}


def ratios(parts: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return how many times as fast Hanlin is as each other, at the same number of processes."""
    found = {}
    for name, part in parts.items():
        ours = parts.get(f"hanlin-{part['kind']}-{part['processes']}")
        if ours and part["tool"] != "hanlin":
            found[name] = round(ours["mb_per_s"] / part["mb_per_s"], 3)
    return found


def main() -> None:
    """Run the parts that were named and add them to the result."""
    if sys.argv[1:2] == ["--inside"]:
        _, kind, file, tokenizer, processes, folder = sys.argv[2:]
        done = hanlin(kind, Path(file), Path(tokenizer), int(processes), Path(folder))
        sys.stdout.write(json.dumps(done) + "\n")
        return
    result = read_json(RESULT) if RESULT.exists() else {"parts": {}}
    parts, runs = result["parts"], dict[str, list[dict[str, Any]]]()
    for part in sys.argv[1:]:
        if part == "segments":
            result[part] = segments()
        else:
            runs.setdefault(part, []).append(measure(part))
            parts[part] = middle(runs[part])
        result |= {"machine": environment.describe(), "hanlin_times_as_fast": ratios(parts)}
        write_json(RESULT, result)
        sys.stdout.write(f"{part}: {json.dumps(parts.get(part, result.get(part)))}\n")


if __name__ == "__main__":
    main()
