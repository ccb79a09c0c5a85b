"""python benchmarks/grow_memory.py [--layers 32].

How much memory does `hanlin model grow` take for a checkpoint of the shape of LLaMA-2 7B, in
float16? Its decoder layers are zeros, its two tables noise; the tokenizer grows from 32,000 to
49,953 pieces. Needs 15 GB of disk, for the result: the zeros of the input are holes in its files.
HANLIN_BIG names a folder with that much room.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch

from hanlin.core import environment
from hanlin.core.files import read_json, size_bytes, write_json
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.safetensors_file import header_of
from hanlin.models.tensor_spec import TensorSpec, raw_bytes
from hanlin.tokenization.load import load

ROOT = Path(__file__).parent
DATA = Path(os.environ.get("HANLIN_DATA", ROOT.parent.parent / "shared" / "data")) / "tokenizers"
RESULT = ROOT / "results" / "grow_memory.json"
VOCAB, WIDTH, WIDE, SHARD_BYTES = 32_000, 4096, 11_008, 5_000_000_000
NOISE_ROWS = 4000


def specs(layers: int) -> list[TensorSpec]:
    """Return the tensors of LLaMA-2 7B, with so many layers."""
    square, up, down = (WIDTH, WIDTH), (WIDE, WIDTH), (WIDTH, WIDE)
    shapes = {f"self_attn.{name}_proj": square for name in "qkvo"}
    shapes |= {"mlp.gate_proj": up, "mlp.up_proj": up, "mlp.down_proj": down}
    shapes |= {"input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,)}
    inner = [
        TensorSpec(f"model.layers.{layer}.{name}.weight", "F16", shape)
        for layer in range(layers)
        for name, shape in shapes.items()
    ]
    table = (VOCAB, WIDTH)
    return [
        TensorSpec(EMBEDDINGS, "F16", table),
        *inner,
        TensorSpec("model.norm.weight", "F16", (WIDTH,)),
        TensorSpec(LM_HEAD, "F16", table),
    ]


def make_checkpoint(folder: Path, layers: int) -> None:
    """Write a model folder whose zeros take no room on the disk."""
    shards: list[list[TensorSpec]] = [[]]
    for spec in specs(layers):
        if sum(s.size_bytes for s in shards[-1]) + spec.size_bytes > SHARD_BYTES:
            shards.append([])
        shards[-1].append(spec)
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        weight_map |= {spec.name: name for spec in shard}
        write_shard(folder / name, shard)
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    write_json(folder / "config.json", {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": WIDTH,
        "intermediate_size": WIDE, "num_hidden_layers": layers, "num_attention_heads": 32,
        "vocab_size": VOCAB, "max_position_embeddings": 4096, "dtype": "float16",
    })  # fmt: skip
    load(DATA / "llama").save(folder)


def write_shard(file: Path, shard: list[TensorSpec]) -> None:
    """Write the header, noise for the tables, and holes for all else."""
    generator = torch.Generator().manual_seed(0)
    with file.open("wb") as stream:
        stream.write(header_of(shard))
        for spec in shard:
            if spec.name not in (EMBEDDINGS, LM_HEAD):
                stream.seek(spec.size_bytes, os.SEEK_CUR)
                continue
            for _ in range(0, VOCAB, NOISE_ROWS):
                noise = 0.02 * torch.randn(NOISE_ROWS, WIDTH, generator=generator)
                stream.write(raw_bytes(noise.half()))
        stream.truncate(stream.tell())


def run(command: list[str]) -> dict[str, float]:
    """Run a command; return seconds and the peak of its resident memory in bytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def main() -> None:
    """Make the checkpoint, grow it, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=32)
    layers = parser.parse_args().layers
    hanlin = [sys.executable, "-m", "hanlin"]
    with tempfile.TemporaryDirectory(dir=os.environ.get("HANLIN_BIG", None)) as name:
        work = Path(name)
        base, extended, grown = work / "base", work / "extended", work / "grown"
        base.mkdir()
        make_checkpoint(base, layers)
        pieces = ["--pieces", str(DATA / "chinese_sp.model"), "--compat", "chinese-llama"]
        run([*hanlin, "tokenizer", "extend", str(DATA / "llama"), *pieces, "--out", str(extended)])
        grow = [*hanlin, "model", "grow", str(base), "--tokenizer", str(extended)]
        measured = run([*grow, "--out", str(grown)])
        result = {
            "machine": environment.describe(),
            "input_bytes": sum(map(size_bytes, base.glob("*.safetensors"))),
            "output_bytes": sum(map(size_bytes, grown.glob("*.safetensors"))),
            "rows": [VOCAB, read_json(grown / "config.json")["vocab_size"]],
            **measured,
        }
    write_json(RESULT, result)
    print(result)


if __name__ == "__main__":
    main()
