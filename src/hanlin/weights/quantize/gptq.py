"""How are GPTQ and AWQ run? By gptqmodel, which transformers uses to load both, in its own process.

GPTQ: Frantar et al. 2022; AWQ: Lin et al. 2023. gptqmodel changes transformers when it is imported,
and prints: so it is kept out of the process that other models are loaded in.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hanlin.core.errors import StageFailedError
from hanlin.core.extras import require
from hanlin.core.files import read_json, write_json

BITS = 4
KEPT = ("config.json", "generation_config.json", "quantize_config.json")
SHOWN_LINES = 200


@dataclass(frozen=True)
class GptqJob:
    """What the process is to do.

    Attributes:
        source: folder of the float model, with its tokenizer.
        out: folder for config and weights.
        method: "gptq" or "awq".
        group_size: weights of a row that share a scale.
        rows: token ids that activations are computed on.
        texts: what bits per byte of the result are measured on.
        seq_len: longer texts are cut into windows of so many tokens.
    """

    source: str
    out: str
    method: str
    group_size: int
    rows: Sequence[Sequence[int]]
    texts: Sequence[str]
    seq_len: int


def require_gptqmodel() -> None:
    """Ask for gptqmodel.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec("gptqmodel") is None:
        require("gptqmodel", extra="gptq", purpose="quantizing by GPTQ or AWQ")


def run_gptq(job: GptqJob) -> float:
    """Write the quantized config and weights; return their bits per byte, loaded back.

    Raises:
        StageFailedError: gptqmodel failed; the message has its last words.
    """
    with TemporaryDirectory() as name:
        request, result = Path(name) / "job.json", Path(name) / "result.json"
        write_json(request, asdict(job))
        command = [sys.executable, "-m", __name__, str(request), str(result)]
        last: deque[str] = deque(maxlen=SHOWN_LINES)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # Its default, half of the processors, is below what it asks of itself on two of them.
            "GPTQMODEL_CPU_WORKERS": str(max(2, (os.cpu_count() or 1) // 2)),
        }
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env=environment, cwd=name,  # it leaves a folder of logs
        ) as process:  # fmt: skip
            assert process.stdout is not None
            try:
                last.extend(process.stdout)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise StageFailedError(
                f"gptqmodel could not quantize {job.source} (exit code {process.returncode})",
                why=_cause(last),
                fix="try the other of gptq and awq, or --method nf4, which needs no such package",
            )
        return float(read_json(result)["bits_per_byte"])


def _cause(lines: Sequence[str]) -> str:
    """Return the last line that names an error, else the last one."""
    words = [line.strip() for line in lines if line.strip()]
    named = [line for line in words if "Error" in line.partition(":")[0]]
    return (named or words or [""])[-1]


def _main(request: str, result: str) -> None:
    job = GptqJob(**read_json(Path(request)))
    _quantize(job)
    _clean(Path(job.out))

    from hanlin.models.text_loss import measure_folder
    from hanlin.tokenization.load import load

    found = measure_folder(
        Path(job.out), texts=job.texts, tokenizer=load(job.source), seq_len=job.seq_len
    )
    write_json(Path(result), {"bits_per_byte": found})


def _quantize(job: GptqJob) -> None:
    import gptqmodel
    from gptqmodel.quantization import FORMAT, METHOD

    from hanlin.models.load import best_device

    kind: dict[str, Any] = {"quant_method": METHOD.GPTQ, "format": FORMAT.GPTQ}
    if job.method == "awq":
        kind = {"quant_method": METHOD.AWQ, "format": FORMAT.GEMM}
    config = gptqmodel.QuantizeConfig(bits=BITS, group_size=job.group_size, **kind)
    model = gptqmodel.GPTQModel.load(job.source, config, device=best_device())
    rows = [{"input_ids": list(ids), "attention_mask": [1] * len(ids)} for ids in job.rows]
    model.quantize(rows, batch_size=1)
    model.save(job.out)


def _clean(out: Path) -> None:
    """Leave config and weights, without the name of a temporary folder and without timings."""
    for file in out.iterdir():
        if file.name not in KEPT and ".safetensors" not in file.name:
            file.unlink()
    for name in KEPT:
        if (out / name).is_file():
            content = read_json(out / name)
            meta = content.get("quantization_config", content).get("meta", {})
            meta.pop("offload_to_disk_path", None)
            write_json(out / name, content)


if __name__ == "__main__":
    _main(*sys.argv[1:])
