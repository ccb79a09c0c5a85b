"""How are mixtures of quantized types (q4_k_m, ...) made? By llama.cpp's own quantizer.

It runs in a process of its own: where llama.cpp finds a fault it aborts, and takes its process
with it; and so Ctrl-C stops it at once.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import subprocess
import sys
from collections import deque
from pathlib import Path

from hanlin.core.environment import usable_cpus
from hanlin.core.errors import StageFailedError
from hanlin.core.extras import require
from hanlin.core.meter import Progress

BUFFER_BYTES = 256 << 20  # rows of a tensor that are held at once; llama.cpp's default is 8 GiB
STEP = re.compile(r"^\[ *(\d+)/ *(\d+)\] +(\S+)")  # one line of its log for each tensor
SHOWN_LINES = 3


def require_quantizer() -> None:
    """Ask for llama-cpp-python, the package that brings the quantizer.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec("llama_cpp") is None:  # its library is only loaded by `_main`
        require("llama_cpp", extra="kquants", purpose="writing GGUF files of mixed types")


def quantize_file(source: Path, out: Path, *, file_type: str, progress: Progress) -> None:
    """Quantize a GGUF file of 16 or 32 bits.

    Args:
        source: the file.
        out: the new file; half of one is left there on failure.
        file_type: llama.cpp's name of the mixture, "MOSTLY_Q4_K_M".
        progress: called with (tensors done, tensors in all, name).

    Raises:
        StageFailedError: the quantizer failed.
        OSError: the disk is full.
    """
    command = [sys.executable, "-m", __name__, str(source), str(out), file_type]
    last: deque[str] = deque(maxlen=SHOWN_LINES)
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                last.append(line.strip())
                if step := STEP.match(line):
                    progress(int(step[1]), int(step[2]), step[3])
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return
    if any("iostream error" in line for line in last):  # of std::ofstream, which says no more
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise StageFailedError(
        f"llama.cpp could not quantize to {file_type} (exit code {process.returncode})",
        why=" | ".join(line for line in last if line),
        fix="take another --type, or a newer llama-cpp-python: "
        'pip install --upgrade "hanlin[kquants]"',
    )


def _main(source: str, out: str, file_type: str) -> int:
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_{file_type}")
    settings.nthread = usable_cpus()
    if hasattr(settings, "max_buf_size"):  # younger than the oldest version that we take
        settings.max_buf_size = BUFFER_BYTES
    return int(llama_cpp.llama_model_quantize(source.encode(), out.encode(), settings))


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
