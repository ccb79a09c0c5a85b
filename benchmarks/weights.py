"""How much memory and time does surgery on a large checkpoint take, beside cp, sha256sum and peers?

    python benchmarks/weights.py [--gigabytes 6.5] [--peer mergekit=VENV] [--peer llamafactory=VENV]

Makes a checkpoint of noise in the shapes of LLaMA-13B, with as many of its 40 layers as fit into
the given size, and an adapter. Runs each command of `hanlin weights` on it as a process of its own
below `/usr/bin/time`, each beside `cp` and `sha256sum` of the same bytes; then merges the same two
with peft, LLaMA-Factory and mergekit. A peer that is not installed is left out, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

from hanlin.core import environment
from hanlin.core.files import read_json, size_bytes, write_atomic, write_json

HIDDEN, FEED_FORWARD, HEADS, VOCABULARY, LAYERS = 5120, 13824, 40, 32000, 40  # LLaMA-13B
RANK = 8
SHARD_BYTES = 2_000_000_000
RESULT = Path(__file__).parent / "results" / "weights.json"
Command = list[str | Path]
PEERS = ("peft", "llamafactory", "mergekit")
MATRICES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN, HIDDEN),
    "self_attn.v_proj": (HIDDEN, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (FEED_FORWARD, HIDDEN), "mlp.up_proj": (FEED_FORWARD, HIDDEN),
    "mlp.down_proj": (HIDDEN, FEED_FORWARD),
}  # fmt: skip
LAYER_BYTES = 2 * (sum(rows * columns for rows, columns in MATRICES.values()) + 2 * HIDDEN)
PEFT = """
import sys, torch, transformers, peft
base, adapter, out = sys.argv[1:]
model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16)
model = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
model.save_pretrained(out, max_shard_size="2GB")
transformers.AutoTokenizer.from_pretrained(base).save_pretrained(out)
"""


@dataclass(frozen=True)
class Measured:
    """One process: seconds on the wall, seconds of all cores, most memory that was resident."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure(command: Command, *, env: dict[str, str] | None = None) -> Measured:
    """Run a command to its end and return what it took.

    Raises:
        RuntimeError: it failed; the message has the end of what it said.
    """
    with tempfile.NamedTemporaryFile("r") as record:
        timed = ["/usr/bin/time", "-f", "%U %S %M", "-o", record.name, *map(str, command)]
        started = time.perf_counter()
        done = subprocess.run(
            timed, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        user, system, kilobytes = record.read().split()[-3:]
    return Measured(round(seconds, 2), float(user) + float(system), int(kilobytes) * 1024)


def make_base(folder: Path, *, layers: int) -> int:
    """Write the checkpoint; return the bytes of its tensors."""
    import torch

    from hanlin.models.tensors import TensorSpec, write_checkpoint
    from hanlin.models.tiny import make_tiny

    make_tiny(folder)  # for its tokenizer
    (folder / "model.safetensors").unlink()
    settings = read_json(folder / "config.json") | {
        "hidden_size": HIDDEN, "intermediate_size": FEED_FORWARD, "num_hidden_layers": layers,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": HIDDEN // HEADS,
        "vocab_size": VOCABULARY, "dtype": "float16",
    }  # fmt: skip
    write_json(folder / "config.json", settings)
    shapes = {"model.embed_tokens": (VOCABULARY, HIDDEN)}
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in MATRICES.items()}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"model.layers.{layer}.{norm}"] = (HIDDEN,)
    shapes |= {"model.norm": (HIDDEN,), "lm_head": (VOCABULARY, HIDDEN)}
    specs = [TensorSpec(f"{name}.weight", "F16", shape) for name, shape in shapes.items()]
    generator = np.random.Generator(np.random.SFC64(1))

    def noise(spec: TensorSpec) -> Iterator[torch.Tensor]:
        rows = spec.shape[0]
        for start in range(0, rows, 2048):
            shape = (min(2048, rows - start), *spec.shape[1:])
            bits = generator.integers(0, 1 << 16, shape, dtype=np.uint16)
            # Any sign and mantissa, exponents of 2^-7 to 2^-4: about as large as weights are.
            yield torch.from_numpy(((bits & 0x8FFF) | 0x2000).view(np.float16))

    write_checkpoint(folder, specs, noise, max_shard_bytes=SHARD_BYTES)
    return sum(spec.size_bytes for spec in specs)


def make_adapter(folder: Path, *, base: Path, layers: int) -> None:
    """Write a LoRA adapter for every matrix of the layers, as peft would."""
    import peft
    import torch
    from safetensors.torch import save_file

    config = peft.LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=[name.split(".")[1] for name in MATRICES],
        task_type="CAUSAL_LM", base_model_name_or_path=str(base), inference_mode=True,
    )  # fmt: skip
    config.save_pretrained(str(folder))
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for layer in range(layers):
        for name, (rows, columns) in MATRICES.items():
            where = f"base_model.model.model.layers.{layer}.{name}"
            for half, shape in (("A", (RANK, columns)), ("B", (rows, RANK))):
                values = torch.randn(shape, generator=generator) * 0.01
                tensors[f"{where}.lora_{half}.weight"] = values
    save_file(tensors, folder / "adapter_model.safetensors")


def hanlin(*arguments: str | Path) -> Command:
    """Return the command line of a command of ours."""
    return [sys.executable, "-m", "hanlin", "weights", *arguments]


def reference(folders: list[Path], work: Path) -> dict[str, float]:
    """Return seconds of `cp` of the weights in folders and of `sha256sum` of the copies."""
    copied = hashed = 0.0
    for folder in folders:
        copy = work / "copy"
        copy.mkdir()
        copied += measure(["cp", *sorted(folder.glob("*.safetensors")), copy]).seconds
        hashed += measure(["sha256sum", *sorted(copy.iterdir())]).seconds
        shutil.rmtree(copy)
    subprocess.run(["sync"], check=True)
    return {"cp_seconds": round(copied, 2), "sha256_seconds": round(hashed, 2)}


def run_commands(work: Path, rounds: int) -> Iterator[dict[str, object]]:
    """Measure each command, in every round beside the reference."""
    base, adapter, tuned, diff = (work / name for name in ("base", "adapter", "tuned", "diff"))
    again, meta = work / "again", work / "meta"
    commands = {  # name -> command line, what it reads, what it writes
        "merge": (hanlin("merge", base, adapter, tuned, "--no-check"), [base], tuned),
        "verify": (hanlin("verify", tuned), [tuned], None),
        "diff": (hanlin("diff", base, tuned, diff), [base, tuned], diff),
        "recover": (hanlin("recover", base, diff, again), [base, diff], again),
        "convert --to meta": (hanlin("convert", base, meta, "--to", "meta"), [base], meta),
    }
    kept = {tuned, diff}
    for name, (command, inputs, out) in commands.items():
        if name == "recover":
            digests = read_json(tuned / "tensors.json")["tensors"]
            shutil.rmtree(tuned)
        found = one_command(command, inputs=inputs, out=out, work=work, rounds=rounds)
        print(f"{name}: {found}", flush=True)
        yield {"command": name, **found}
        if name == "recover":
            recovered = read_json(again / "tensors.json")["tensors"]
            same = (recovered[key]["sha256"] == digests[key]["sha256"] for key in digests)
            assert len(recovered) == len(digests) and all(same), "recover is not exact"
        if out is not None and out not in kept:
            shutil.rmtree(out)
    shutil.rmtree(diff)


def one_command(
    command: Command, *, inputs: list[Path], out: Path | None, work: Path, rounds: int
) -> dict[str, Any]:
    """Measure a command, each time beside the reference; its last output stays."""
    runs, beside = [], []
    for _ in range(rounds):
        beside.append(reference(inputs, work))
        if out is not None:
            shutil.rmtree(out, ignore_errors=True)
        runs.append(measure(command))
    pairs = zip(beside, runs, strict=True)
    return {
        "seconds": median(run.seconds for run in runs),
        "peak_bytes": max(run.peak_bytes for run in runs),
        "read_bytes": sum(size_bytes(folder) for folder in inputs),
        "written_bytes": size_bytes(out) if out else 0,
        "speed_over_cp_and_sha256": round(median(sum(b.values()) / r.seconds for b, r in pairs), 2),
        "runs": [asdict(run) for run in runs],
        "beside": beside,
    }


def peer_commands(work: Path, venvs: dict[str, Path]) -> dict[str, Command]:
    """Return the command of each peer; all write to the same folder."""
    base, adapter, out = work / "base", work / "adapter", work / "peer"
    export = {
        "model_name_or_path": str(base), "adapter_name_or_path": str(adapter),
        "template": "default", "finetuning_type": "lora", "export_dir": str(out),
        "export_size": 2, "export_device": "cpu", "export_legacy_format": False,
        "infer_dtype": "float16",
    }  # fmt: skip
    models = [{"model": f"{base}+{adapter}", "parameters": {"weight": 1.0}}]
    recipe = {"merge_method": "linear", "models": models, "dtype": "float16"}
    for name, content in (("export.yaml", export), ("recipe.yaml", recipe)):
        write_atomic(work / name, json.dumps(content).encode())  # JSON is YAML too
    commands: dict[str, Command] = {"peft": [sys.executable, "-c", PEFT, base, adapter, out]}
    if "llamafactory" in venvs:
        program = venvs["llamafactory"] / "bin" / "llamafactory-cli"
        commands["llamafactory"] = [program, "export", work / "export.yaml"]
    if "mergekit" in venvs:
        commands["mergekit"] = [
            venvs["mergekit"] / "bin" / "mergekit-yaml", work / "recipe.yaml", out,
            "--lora-merge-cache", work / "cache", "--out-shard-size", "1B", "--quiet",
        ]  # fmt: skip
    return commands


def run_peers(work: Path, venvs: dict[str, Path], rounds: int) -> dict[str, object]:
    """Measure our merge and each peer's in turn on the same base and adapter."""
    ours, theirs = work / "ours", work / "peer"
    command = hanlin("merge", work / "base", work / "adapter", ours, "--no-check")
    our_runs: list[Measured] = []
    peers: dict[str, dict[str, Any]] = {
        name: {"skipped": f"no environment given: --peer {name}=VENV"} for name in PEERS
    }
    left = peer_commands(work, venvs)
    for _ in range(rounds):
        shutil.rmtree(ours, ignore_errors=True)
        our_runs.append(measure_after_sync(command))
        for name in list(left):
            try:
                run = measure_after_sync(left[name], env={"DISABLE_VERSION_CHECK": "1"})
            except (RuntimeError, OSError) as error:
                peers[name] = {"skipped": str(error)}
                del left[name]
                continue
            found = {"version": version(name, venvs), "runs": [], **differences(ours, theirs)}
            found["runs"] = [*peers[name].get("runs", ()), asdict(run)]
            peers[name] = found
            for folder in (theirs, work / "cache"):
                shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(ours)
    for name in left:
        peers[name] |= over_ours(peers[name]["runs"], our_runs)
        print(name, {key: value for key, value in peers[name].items() if key != "runs"})
    return {"hanlin": [asdict(run) for run in our_runs], **peers}


def measure_after_sync(command: Command, *, env: dict[str, str] | None = None) -> Measured:
    """Measure with nothing left to write from what ran before."""
    subprocess.run(["sync"], check=True)
    return measure(command, env=env)


def version(name: str, venvs: dict[str, Path]) -> str:
    """Return which version of a peer ran."""
    python = venvs[name] / "bin" / "python" if name in venvs else sys.executable
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def differences(ours: Path, theirs: Path) -> dict[str, float]:
    """Compare two merged models: how many tensors are the same bits, and the largest difference.

    A peer that adds in float16 rounds in another place than one that adds in float32.
    """
    import torch

    from hanlin.models.tensors import open_checkpoint

    one, other = open_checkpoint(ours), open_checkpoint(theirs)
    assert one.specs.keys() == other.specs.keys(), "other tensors"
    equal, largest = 0, 0.0
    for name in one.specs:
        pairs = list(zip(one.blocks(name), other.blocks(name), strict=True))
        equal += all(torch.equal(a, b) for a, b in pairs)
        largest = max(largest, *(float((a.float() - b.float()).abs().max()) for a, b in pairs))
    return {"equal_tensors": equal, "tensors": len(one.specs), "largest_difference": largest}


def over_ours(runs: list[dict[str, float]], ours: list[Measured]) -> dict[str, float]:
    """Return medians of a peer and its ratios to ours of the same round."""
    pairs = list(zip(runs, ours, strict=True))
    return {
        "seconds": median(run["seconds"] for run in runs),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "memory_over_ours": round(median(r["peak_bytes"] / o.peak_bytes for r, o in pairs), 2),
        "time_over_ours": round(median(r["seconds"] / o.seconds for r, o in pairs), 2),
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    shape, ours = result["checkpoint"], result["peers"]["hanlin"]
    lines = [
        f"{shape['layers']} of 40 layers of LLaMA-13B, float16, {shape['bytes'] / 1e9:.2f} GB, on "
        f"{result['machine']['processor']}, {result['machine']['cpus']} cores. Made by "
        "`python benchmarks/weights.py`; medians of rounds, peaks are the largest.", "",
        "| command | reads | writes | seconds | peak memory | speed over `cp` and `sha256sum` of "
        "what it reads |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in result["commands"]:
        lines.append(
            f"| hanlin weights {row['command']} | {row['read_bytes'] / 1e9:.2f} GB | "
            f"{row['written_bytes'] / 1e9:.2f} GB | {row['seconds']:.1f} | "
            f"{row['peak_bytes'] / 1e9:.2f} GB | {row['speed_over_cp_and_sha256']:.2f} |"
        )
    seconds, peak = median(run["seconds"] for run in ours), max(run["peak_bytes"] for run in ours)
    lines += [
        "", "| merge by | seconds | over ours | peak memory | over ours | tensors of same bits |",
        "|---|---|---|---|---|---|",
        f"| hanlin | {seconds:.1f} | | {peak / 1e9:.2f} GB | | |",
    ]  # fmt: skip
    for name in PEERS:
        peer = result["peers"][name]
        lines.append(
            f"| {name} | skipped: {peer['skipped'].splitlines()[-1]} | | | | |"
            if "skipped" in peer
            else f"| {name} {peer['version']} | {peer['seconds']:.1f} | {peer['time_over_ours']} | "
            f"{peer['peak_bytes'] / 1e9:.2f} GB | {peer['memory_over_ours']} | "
            f"{peer['equal_tensors']} of {peer['tensors']} |"
        )
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=6.5, help="size of the checkpoint")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder with four times the space")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=VENV")
    parser.add_argument("--skip-commands", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    return parser.parse_args()


def main() -> None:
    """Make, measure, write the result."""
    options = arguments()
    venvs = {name: Path(path) for name, _, path in (peer.partition("=") for peer in options.peer)}
    layers = min(
        LAYERS, int((options.gigabytes * 1e9 - 2 * VOCABULARY * HIDDEN * 2) // LAYER_BYTES)
    )
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        work = Path(name)
        size = make_base(work / "base", layers=layers)
        make_adapter(work / "adapter", base=work / "base", layers=layers)
        print(f"{layers} layers, {size / 1e9:.2f} GB in {work}")
        result = {
            "machine": environment.describe(),
            "checkpoint": {"layers": layers, "bytes": size, "dtype": "F16", "lora_rank": RANK},
            "commands": [] if options.skip_commands else list(run_commands(work, options.rounds)),
            "peers": run_peers(work, venvs, options.rounds),
        }
    write_json(options.out, result)
    write_atomic(options.out.with_suffix(".md"), table(result).encode())
    print(table(result))


if __name__ == "__main__":
    main()
