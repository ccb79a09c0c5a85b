"""What does `diff.json` say: how each tensor is stored, from what, and which digests belong to it?

Digests are those of `tensors.json`: over type, shape and bytes of one tensor, whatever the shards.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.tensors import DTYPES, TensorSpec

FILE_NAME, VERSION = "diff.json", 1
CARRIED = "files"  # the folder of TUNED's other files inside a diff
Mode = Literal["same", "difference", "whole"]
Compression = Literal["zstd", "none"]


def _plain(path: str) -> str:
    """Refuse a path that leads out of the folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or {"..", "."} & set(parts):
        raise ValueError(f"{path!r} leads out of the folder")
    return path


def _known(dtype: str) -> str:
    if dtype not in DTYPES:
        raise ValueError(f"unknown type {dtype!r}; known types: {', '.join(DTYPES)}")
    return dtype


PlainPath = Annotated[str, AfterValidator(_plain)]
Dtype = Annotated[str, AfterValidator(_known)]
Size = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseTensor(_Strict):
    """The tensor of the base that one is made from."""

    name: str
    dtype: Dtype
    shape: tuple[Size, ...]
    sha256: Sha256

    @property
    def spec(self) -> TensorSpec:
        """Return it as a spec."""
        return TensorSpec(self.name, self.dtype, self.shape)


class DiffTensor(_Strict):
    """One tensor of the tuned model.

    Attributes:
        mode: "same" as the base's, a "difference" to it, or stored "whole".
        dtype: of the tuned tensor.
        shape: of the tuned tensor.
        sha256: of the tuned tensor.
        base: what it is made from; None for "whole".
        file: where its stored bytes are; None for "same".
    """

    mode: Mode
    dtype: Dtype
    shape: tuple[Size, ...]
    sha256: Sha256
    base: BaseTensor | None = None
    file: PlainPath | None = None

    @model_validator(mode="after")
    def _has_what_its_mode_needs(self) -> DiffTensor:
        if (self.base is None) != (self.mode == "whole") or (self.file is None) != (
            self.mode == "same"
        ):
            raise ValueError(f"the mode {self.mode!r} does not go with its base and file")
        return self

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return self.model_dump(mode="json", exclude_none=True)


class DiffManifest(_Strict):
    """All of `diff.json`.

    Attributes:
        version: of this layout.
        base: what the base was called when the diff was made; for messages only.
        tuned: what the tuned model was called.
        compression: of the stored bytes, "zstd" or "none".
        tensors: the tuned model's tensors.
        removed: the base's tensors that nothing is made from.
        files: the tuned model's other files (below `files/`) and their sha256.
    """

    version: int = VERSION
    base: str
    tuned: str
    compression: Compression
    tensors: dict[str, DiffTensor]
    removed: tuple[str, ...] = ()
    files: dict[PlainPath, Sha256] = {}

    def spec(self, name: str) -> TensorSpec:
        """Return what a tuned tensor is."""
        return TensorSpec(name, self.tensors[name].dtype, self.tensors[name].shape)


def is_diff(folder: Path) -> bool:
    """Tell whether a folder holds a bit-exact diff."""
    return (folder / FILE_NAME).is_file()


def write_manifest(folder: Path, manifest: DiffManifest) -> None:
    """Write `diff.json`."""
    write_json(folder / FILE_NAME, manifest.model_dump(mode="json", exclude_none=True))


def read_manifest(folder: Path) -> DiffManifest:
    """Read `diff.json`.

    Raises:
        InputError: it is damaged, or was written by a newer version.
    """
    file = folder / FILE_NAME
    content = read_json(file)
    version = content.get("version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version > VERSION:
        raise InputError(
            f"{file} has version {version!r}, this Hanlin reads up to {VERSION}",
            why="it is damaged, or was written by a newer version",
            fix="pip install --upgrade hanlin, or download the diff again",
        )
    try:
        return DiffManifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{file} is damaged: {where or 'the document'}",
            why=first["msg"],
            fix="download or copy the diff again",
        ) from error
