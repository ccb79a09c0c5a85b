"""Which adapter answers? Several LoRA adapters on one base, put on and off between passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.extras import require
from hanlin.models.manifest import check_tokenizer, read_manifest, weights_sha256
from hanlin.models.save import quiet_transformers
from hanlin.prompts.probe import check_probe
from hanlin.tokenization.load import Tokenizer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Adapters:
    """The adapters of a model; may be asked by several threads, one of which has the model.

    Args:
        model: the base, changed in place: its own weights stay as they are.
        folders: name -> folder in PEFT's layout.
        base: folder of the base.
        tokenizer: its tokenizer.

    Raises:
        InputError: a folder is no adapter, or belongs to another base, tokenizer or prompt format.
        MissingExtraError: peft is not installed.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - a PreTrainedModel
        folders: Mapping[str, Path],
        *,
        base: Path,
        tokenizer: Tokenizer,
    ) -> None:
        digest = cache(lambda: weights_sha256(base))  # of gigabytes
        self._names = tuple(folders)
        self._active: str | None = ""  # unknown
        self._lock = RLock()
        self._model: Any = None
        for name, folder in folders.items():
            _check(folder, base=base, digest=digest, tokenizer=tokenizer)
            peft = require("peft", extra="train", purpose="answering with an adapter")
            with quiet_transformers():
                if self._model is None:
                    load = peft.PeftModel.from_pretrained
                    self._model = load(model, str(folder), adapter_name=name)
                else:
                    self._model.load_adapter(str(folder), adapter_name=name)

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        """Let one adapter be on inside the block, or none: the base alone."""
        if not self._names:
            yield
            return
        with self._lock:
            if name != self._active:
                layers = self._model.base_model
                if name is None:
                    layers.disable_adapter_layers()
                else:
                    layers.enable_adapter_layers()
                    self._model.set_adapter(name)
                self._active = name
            yield

    def check(self, name: str | None) -> None:
        """Refuse a name that no adapter has.

        Raises:
            ConfigError: there is no such adapter.
        """
        if name is None or name in self._names:
            return
        raise ConfigError(
            f"there is no adapter {name!r}",
            why=f"the model was opened with {', '.join(self._names) or 'none'}",
            fix="open it with that adapter, or leave the name out for the base alone",
        )


def _check(folder: Path, *, base: Path, digest: Callable[[], str], tokenizer: Tokenizer) -> None:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} is no adapter: it has no {name}",
                why="an adapter is a folder in PEFT's layout",
                fix="give the folder that finetuning wrote",
            )
    check_tokenizer(folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path)
    manifest = read_manifest(folder)
    expected = (manifest.get("base") or {}).get("weights_sha256")
    if expected is not None and expected != digest():
        raise InputError(
            f"the adapter {folder} was not trained on {base}",
            why=f"its hanlin.json has weights_sha256 {expected[:12]}... of another base",
            fix="open the base that it was trained on",
        )
    check_probe(manifest, tokenizer, where=str(folder / "hanlin.json"))
