"""Checkpoints for the tests of diff and recover."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from hanlin.core.files import read_json
from hanlin.models.tensors import DTYPES, MANIFEST, TensorSpec, write_checkpoint

NAME_OF = {torch_name: name for name, (torch_name, _) in DTYPES.items()}


def write(folder, tensors, **options):
    """Write tensors as a checkpoint."""
    specs = [
        TensorSpec(name, NAME_OF[str(t.dtype).removeprefix("torch.")], tuple(t.shape))
        for name, t in tensors.items()
    ]
    write_checkpoint(folder, specs, lambda spec: tensors[spec.name], **options)
    return folder


def digests(folder):
    """Return name -> sha256 of a checkpoint that we wrote."""
    return {
        name: entry["sha256"] for name, entry in read_json(folder / MANIFEST)["tensors"].items()
    }


def model(*, dtype=torch.float16, rows=50, seed=0, layers=3):
    """Return the tensors of something like a model, with a norm near 1."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {"model.embed_tokens.weight": torch.randn(rows, 16, generator=generator) * 0.02}
    for layer in range(layers):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        tensors[name] = torch.randn(24, 16, generator=generator) * 0.02
    tensors["model.norm.weight"] = 1 + 0.1 * torch.randn(16, generator=generator)
    tensors["lm_head.weight"] = torch.randn(rows, 16, generator=generator) * 0.02
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def tuned(tensors, *, seed=1, by=1e-3):
    """Return the same tensors, moved a little."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (t.float() * (1 + by * torch.randn(t.shape, generator=generator))).to(t.dtype)
        for name, t in tensors.items()
    }


def loaded(folder):
    """Return all tensors of a folder, read by the safetensors library."""
    return {k: t for file in folder.glob("*.safetensors") for k, t in load_file(file).items()}


def refusal(kind, function, *arguments, **options):
    """Return the message of an error."""
    with pytest.raises(kind) as caught:
        function(*arguments, **options)
    return str(caught.value)


def killed(function, *, at_call):
    """Run `function(progress)` in a process that kills itself at a call of its progress."""
    child = os.fork()
    if child == 0:
        calls = []

        def progress(*_):
            calls.append(1)
            if len(calls) == at_call:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            function(progress)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
