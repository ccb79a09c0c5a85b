"""How does llama.cpp run so that nothing it does can take Hanlin with it? As a process of its own.

    python -m hanlin.models.llama_process SETTINGS_AS_JSON

It opens a GGUF file, prints one line of JSON, {"address": ...} or {"error": ...}, and serves until
its standard input is closed: it ends with whoever started it, however that one ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError, ResourceError

# llama.cpp's threads meet at a barrier in every layer. Where they spin there and other programs use
# the cores as well, each barrier costs a time slice: 100 M parameters took 270 ms a token with two
# threads on two busy cores, and 40 to 80 ms where they sleep.
SILENT = -1
SHOWN = 300  # characters of what it said last


class LlamaProcess:
    """A running llama.cpp.

    Args:
        settings: path, context_length, num_slots, threads, is_exact.

    Attributes:
        address: host:port.
        pid: of the process.

    Raises:
        InputError: it cannot load the file.
        ResourceError: it ended while it loaded it.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._path = settings["path"]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(  # noqa: S603 - this file, with this Python
            [sys.executable, "-m", "hanlin.models.llama_process", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
            start_new_session=True,  # Ctrl-C stops an answer, not the model
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        said = json.loads(line) if line else {}
        if "address" not in said:
            self._process.wait() if not said else self.close()
            raise self._not_loaded(said["error"]) if "error" in said else self.why_dead()
        self.address: str = said["address"]
        self.pid = self._process.pid

    @property
    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def wait(self, *, timeout_s: float) -> None:
        """Wait until it has ended.

        Raises:
            TimeoutError: it goes on.
        """
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def why_dead(self) -> ResourceError:
        """Return what to tell of a process that ended by itself."""
        code = self._process.wait()
        how = f"with code {code}"
        if code < 0:
            name = signal.Signals(-code).name
            how = f"by the signal {name}" + (
                ", often for lack of memory" if name == "SIGKILL" else ""
            )
        return ResourceError(
            f"llama.cpp ended while it worked on {self._path}",
            why=f"its process was ended {how}{self._last_words()}",
            fix="ask again: it is started anew; with less memory, take a smaller type such as q4_0",
        )

    def close(self) -> None:
        """End it and wait for its end."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace").strip()
        return f"; it said: {said[-SHOWN:]}" if said else ""

    def _not_loaded(self, why: str) -> InputError:
        return InputError(
            f"llama.cpp cannot load {self._path}",
            why=why,
            fix="export it again: hanlin weights gguf MODEL OUT.gguf --type f16 --force",
        )


def main() -> None:
    """Serve a GGUF file until the standard input is closed."""
    settings = json.loads(sys.argv[1])
    try:
        server = _serve(settings)
        said = {"address": server.listening_address.partition("//")[2]}
    except RuntimeError as error:
        said = {"error": str(error)}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def _serve(wanted: dict[str, Any]) -> Any:  # noqa: ANN401 - xllamacpp.Server
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(Path(wanted["path"]))
    settings.verbosity = SILENT
    settings.n_parallel = wanted["num_slots"]
    settings.n_ctx = wanted["context_length"] * wanted["num_slots"]
    settings.kv_unified = False
    settings.n_gpu_layers = settings.cache_ram_mib = 0
    settings.warmup = settings.ui = settings.fit_params = False
    if wanted["is_exact"]:
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = wanted["threads"]
    return xllamacpp.Server(settings)


if __name__ == "__main__":
    main()
