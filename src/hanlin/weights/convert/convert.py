"""How does a checkpoint of one layout become one of another, without changing a bit?

hanlin weights convert IN OUT --to hf|meta

In: Hugging Face (safetensors or `.bin`), Meta (consolidated.NN.pth), llama2.c (`.bin`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import resumable_directory, work_key
from hanlin.core.meter import Progress
from hanlin.models.load import model_folder
from hanlin.models.runs import last_model
from hanlin.models.tensors import DEFAULT_SHARD_BYTES, write_checkpoint
from hanlin.weights.convert import llama2c
from hanlin.weights.convert.meta import PARAMS, SHARD, open_meta, shard_files
from hanlin.weights.convert.meta_write import meta_model, write_meta
from hanlin.weights.convert.rest import find_tokenizer, write_rest
from hanlin.weights.convert.source import CONFIG, Source, as_dtype, open_hf
from hanlin.weights.lora_config import CONFIG as ADAPTER_CONFIG

LAYOUTS = ("hf", "meta")


@dataclass(frozen=True)
class Options:
    """How the result is to look.

    Attributes:
        to: "hf" or "meta".
        shards: number of files of Meta's layout.
        max_shard_bytes: size of a file of the Hugging Face layout.
        dtype: "float32", "float16", "bfloat16"; None: as it is.
        tokenizer: folder or file of the tokenizer; None: the one in or beside the input.
        max_length: longest sequence, where the input does not say it; None: as its kind has it.
    """

    to: str
    shards: int = 1
    max_shard_bytes: int = DEFAULT_SHARD_BYTES
    dtype: str | None = None
    tokenizer: Path | None = None
    max_length: int | None = None


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        layout: of the input: "hf", "meta" or "llama2c".
        to: of the output.
        tensors: number of tensors read.
        size_bytes: of these tensors, in the type written.
        dtype: the type that most of them have.
        files: weight files written.
        max_length: longest sequence that the result says it is made for.
        has_tokenizer: a tokenizer is in the result.
    """

    layout: str
    to: str
    tensors: int
    size_bytes: int
    dtype: str
    files: int
    max_length: int | None
    has_tokenizer: bool

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        values = asdict(self)
        return {"from": values.pop("layout"), **values}


def convert(
    path: str | Path,
    out: Path,
    options: Options,
    *,
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> Conversion:
    """Write a checkpoint in another layout, another number of files, or another float type.

    Memory holds some blocks of rows. An interrupted conversion goes on where it was when the same
    command is given again; `out` appears when it is complete.

    Args:
        path: a folder, a run directory, a hub id, or a `.bin` file of llama2.c.
        out: the folder to make.
        options: how it is to look.
        force: replace what is at `out`.
        progress: called with (tensors done, tensors in all, name).

    Raises:
        ConfigError: an option is wrong.
        InputError: the input is incomplete, damaged, or cannot have that layout; or `out` exists.
        ResourceError: the disk is full or the folder cannot be written.
    """
    source = open_source(path, to=options.to, max_length=options.max_length)
    _check_options(source, options)
    if options.dtype is not None:
        source = as_dtype(source, options.dtype)
    model = meta_model(source, shards=options.shards) if options.to == "meta" else None
    is_copied = source.layout == options.to == "hf"
    tokenizer = None if is_copied else find_tokenizer(source, options.tokenizer)
    inputs = [source.path, *source.files, *([options.tokenizer] if options.tokenizer else [])]
    key = work_key(source.config, asdict(options), files=source.files)
    with resumable_directory(out, key=key, force=force, inputs=inputs) as folder:
        if model is not None:
            write_meta(folder, source, model, shards=options.shards, progress=progress)
        else:
            write_checkpoint(
                folder,
                list(source.specs.values()),
                lambda spec: source.blocks(spec.name),
                max_shard_bytes=options.max_shard_bytes,
                progress=progress,
            )
        write_rest(folder, source, tokenizer, to=options.to)
    patterns = "*.safetensors" if model is None else "*.pth"
    return Conversion(
        layout=source.layout,
        to=options.to,
        tensors=len(source.specs),
        size_bytes=sum(spec.size_bytes for spec in source.specs.values()),
        dtype=source.dtype,
        files=len(list(out.glob(patterns))),
        max_length=source.config.get("max_position_embeddings"),
        has_tokenizer=any((out / name).is_file() for name in ("tokenizer.json", "tokenizer.model")),
    )


def open_source(path: str | Path, *, to: str, max_length: int | None = None) -> Source:
    """Open a checkpoint of any layout, told by what is there.

    Args:
        path: a folder, a run directory (its last model is taken), a hub id, or a file.
        to: the layout that is wanted; of a folder with two, the other one is taken.
        max_length: longest sequence, for Meta's layout.

    Raises:
        ConfigError: there is no such layout.
        InputError: it is none, or it is damaged.
    """
    if to not in LAYOUTS:
        raise ConfigError(f"unknown layout {to!r}", fix=f"use one of {', '.join(LAYOUTS)}")
    place = last_model(Path(path).expanduser())
    if place.is_file():
        return _open_file(place, max_length=max_length)
    if not place.is_dir():
        return open_hf(model_folder(path))
    has_shards, has_config = bool(shard_files(place)), (place / CONFIG).is_file()
    if has_shards and (to == "hf" or not has_config):
        return open_meta(place, max_length=max_length)
    if has_config:
        return open_hf(place)
    if (place / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"{path} is an adapter, not a checkpoint",
            why="it holds only what was learned beside a base model",
            fix=f"merge it first: hanlin weights merge BASE {path} MERGED",
        )
    patterns = (f"*/{PARAMS}", f"*/{CONFIG}", f"*/*/{CONFIG}")
    inner = sorted({file.parent for pattern in patterns for file in place.glob(pattern)})
    raise InputError(
        f"{path} holds no checkpoint",
        why=f"there is neither {CONFIG} (Hugging Face) nor consolidated.00.pth (Meta)"
        + (f", though {PARAMS} is there" if (place / PARAMS).is_file() else ""),
        fix=f"give {inner[0]}" if inner else "give the folder with the weights, all of them",
    )


def _open_file(path: Path, *, max_length: int | None) -> Source:
    if SHARD.fullmatch(path.name):
        return open_meta(path.parent, max_length=max_length)
    source = llama2c.open_llama2c(path)
    if source is None:
        raise InputError(
            f"{path} is no model that can be converted",
            why="of single files only the .bin files of llama2.c are, and its header is not theirs",
            fix="give the folder of the model; a GGUF file cannot be turned back",
        )
    return source


def _check_options(source: Source, options: Options) -> None:
    """Refuse options that would be passed over.

    Raises:
        ConfigError: one has no meaning here.
    """
    useless = {
        "--shards": (options.to == "hf" and options.shards != 1, "--max-shard-gb cuts its files"),
        "--max-length": (
            source.layout != "meta" and options.max_length is not None,
            f"{source.path} says it itself: {source.config.get('max_position_embeddings')}",
        ),
        "--tokenizer": (
            source.layout == options.to == "hf" and options.tokenizer is not None,
            f"the tokenizer in {source.path} is copied with the rest",
        ),
    }
    for option, (is_given, why) in useless.items():
        if is_given:
            raise ConfigError(
                f"{option} has no meaning from {source.layout} to {options.to}",
                why=why,
                fix="leave it out",
            )
