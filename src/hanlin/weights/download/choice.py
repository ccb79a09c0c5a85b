"""Which files of a repository are wanted? The weights once, in the safest format, and no code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hanlin.core.errors import InputError
from hanlin.core.registry import did_you_mean
from hanlin.weights.checksums import LISTS
from hanlin.weights.download.repository import RemoteFile

# The same weights in several formats: the first that a repository has is taken.
FORMATS = {
    "safetensors": ("*.safetensors", "*.safetensors.index.json"),
    "PyTorch": ("*.bin", "*.bin.index.json"),
    "PyTorch (.pth, .pt)": ("*.pth", "*.pt", "*.ckpt"),
    "GGUF": ("*.gguf",),
    "ONNX": ("*.onnx", "*.onnx_data*", "*.onnx.data"),
    "Flax": ("*.msgpack", "*.msgpack.index.json"),
    "TensorFlow": ("*.h5", "*.h5.index.json", "*.tflite"),
    "Rust": ("*.ot",),
    "OpenVINO": ("openvino_*",),
    "Core ML": ("*.mlmodel", "*.mlpackage/*"),
}
CODE = ("*.py", "*.pyc", "*.so", "*.sh")
WHOLE_MODEL = ("model.safetensors", "model.safetensors.index.json")
SHOWN = 5


@dataclass(frozen=True)
class Skipped:
    """A file that is not fetched, and the reason for it."""

    path: str
    size_bytes: int
    reason: str


def choose(
    files: Sequence[RemoteFile], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[list[RemoteFile], list[Skipped]]:
    """Return the files that are wanted, and the others.

    Args:
        files: of a repository.
        include: patterns such as "*.gguf", matched against whole paths (`*` crosses folders);
            none: all but second copies of the weights and code.
        exclude: patterns of files not wanted, stronger than `include`.

    Raises:
        InputError: nothing is left.
    """
    has_whole_model = any(file.path in WHOLE_MODEL for file in files)
    kept = _best_format(files)
    wanted, skipped = [], []
    for file in files:
        if file.path == LISTS[0]:
            reason = "it is written anew"
        elif _matches(file.path, exclude):
            reason = "excluded"
        elif include:
            reason = "" if _matches(file.path, include) else "not included"
        elif _matches(file.path, CODE):
            reason = "code is never run"
        elif has_whole_model and fnmatchcase(file.path, "*consolidated*.safetensors"):
            reason = "the same weights are in model*.safetensors"
        else:
            reason = _as_second_copy(file.path, kept)
        if reason:
            skipped.append(Skipped(file.path, file.size_bytes, reason))
        else:
            wanted.append(file)
    if not wanted:
        raise _nothing_left(files, include)
    return wanted, skipped


def _matches(path: str, patterns: Sequence[str]) -> bool:
    """Tell whether a pattern matches; one that ends with `/` means the whole folder."""
    return any(fnmatchcase(path, p + "*" if p.endswith("/") else p) for p in patterns)


def _best_format(files: Sequence[RemoteFile]) -> str:
    """Return the first format that the top folder has, else the first of any folder; "" for none.

    Not only weights end with .bin: `training_args.bin` is no model.
    """
    paths = [file.path for file in files if not file.path.endswith("training_args.bin")]
    for some in ([path for path in paths if "/" not in path], paths):
        for name, patterns in FORMATS.items():
            if any(_matches(path, patterns) for path in some):
                return name
    return ""


def _as_second_copy(path: str, kept: str) -> str:
    """Return why a file of weights is not needed, "" for every other file."""
    name = next((name for name, patterns in FORMATS.items() if _matches(path, patterns)), kept)
    later = list(FORMATS).index(name) > list(FORMATS).index(kept) if kept else False
    return f"the weights come as {kept}" if later else ""


def _nothing_left(files: Sequence[RemoteFile], include: Sequence[str]) -> InputError:
    shown = ", ".join(file.path for file in files[:SHOWN])
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    nearest = did_you_mean(include[0], [file.path for file in files]) if include else ""
    return InputError(
        "no file is left to download",
        why=f"--include and --exclude leave none of {shown}{more}",
        fix=nearest or "widen the patterns, for example --include '*.json'",
    )
