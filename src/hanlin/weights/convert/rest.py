"""What goes beside converted weights: settings, tokenizer, `hanlin.json`?"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlin.core.files import write_atomic, write_json
from hanlin.models.grow_checks import EMBEDDINGS
from hanlin.models.load import check_rows
from hanlin.models.manifest import FILE_NAME, write_manifest
from hanlin.models.tensors import MANIFEST
from hanlin.tokenization import sentencepiece_json, tiktoken
from hanlin.tokenization.load import Tokenizer, from_content
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.weights.convert import llama2c
from hanlin.weights.convert.source import CONFIG, MANIFEST_KEY, Source

log = logging.getLogger(__name__)

GENERATION = "generation_config.json"
REST = (".json", ".model", ".jinja", ".txt", ".md")  # what is copied beside weights that stay
END_OF_TURN = ("<|eom_id|>", "<|eot_id|>")  # LLaMA-3's chat models end with these as well


def find_tokenizer(source: Source, given: Path | None) -> Tokenizer | None:
    """Return the tokenizer of a LLaMA; None, with a warning, where there is none.

    Args:
        source: the model.
        given: folder or file of the tokenizer; None: the one in or beside the model.

    Raises:
        InputError: it is damaged, or belongs to another model.
    """
    rows = source.specs[EMBEDDINGS].shape[0]
    place = given or _tokenizer_beside(source, rows)
    if place is None:
        log.warning(
            "there is no tokenizer in or beside %s: the result has none; "
            "give one with --tokenizer FILE", source.path,
        )  # fmt: skip
        return None
    tokenizer = _load_tokenizer(place, rows, is_3_1=bool(source.config.get("rope_scaling")))
    check_rows(rows, tokenizer=tokenizer, model_path=source.path)
    return tokenizer


def _tokenizer_beside(source: Source, rows: int) -> Path | None:
    """Return where the tokenizer of a model is; Meta's lie in the folder or in the one above."""
    if source.layout == "llama2c":
        return llama2c.beside(source.path, vocab_size=rows)
    folders = (source.path, source.path.parent) if source.layout == "meta" else (source.path,)
    files = (folder / name for folder in folders for name in ("tokenizer.json", "tokenizer.model"))
    return next((file for file in files if file.is_file()), None)


def _load_tokenizer(place: Path, rows: int, *, is_3_1: bool) -> Tokenizer:
    """Load a tokenizer of any kind; `is_3_1` tells the special tokens of LLaMA-3.1 from 3's."""
    if place.suffix == ".bin":
        model = llama2c.tokenizer_model(place, vocab_size=rows)
        content = sentencepiece_json.tokenizer_json(model)
        settings = sentencepiece_json.tokenizer_config(model)
        tokenizer = from_content(content, settings=settings, path=place)
        return replace(tokenizer, spm_model=model.SerializeToString())
    folder = place if place.is_dir() else place.parent
    table = folder / "tokenizer.model"
    if not table.is_file() or not tiktoken.is_tiktoken(table):
        return load_tokenizer(folder if place.name == "tokenizer.json" else place)
    if (folder / "tokenizer.json").is_file() and place != table:
        return load_tokenizer(folder / "tokenizer.json")
    special = tiktoken.SPECIAL_3_1 if is_3_1 else tiktoken.SPECIAL_3
    return tiktoken.read_tiktoken(table, special=special)


def write_rest(folder: Path, source: Source, tokenizer: Tokenizer | None, *, to: str) -> None:
    """Write settings, tokenizer and `hanlin.json` into the folder of the result.

    Args:
        folder: where the weights are.
        source: what was converted.
        tokenizer: its tokenizer; None: there is none, or the files are copied.
        to: the layout of the result.
    """
    if source.layout == to == "hf":
        _copy_rest(source.path, folder)
    elif (source.path / GENERATION).is_file():
        write_atomic(folder / GENERATION, (source.path / GENERATION).read_bytes())
    if tokenizer is not None:
        tokenizer.save(folder)
        if to == "meta":
            _write_meta_tokenizer(folder, tokenizer)
    if to == "hf":
        _write_configs(folder, source, tokenizer)
    fields: dict[str, Any] = {MANIFEST_KEY: _not_said(source, to)}
    if tokenizer is not None:
        fields["tokenizer_sha256"] = tokenizer.sha256
    write_manifest(folder, **{**source.manifest, **fields})


def _copy_rest(source: Path, folder: Path) -> None:
    """Copy what lies beside the weights of a model, but for what is written anew."""
    anew = (CONFIG, MANIFEST, FILE_NAME)
    for file in sorted(source.iterdir()):
        is_index = file.name.endswith(".index.json")
        if file.is_file() and file.suffix in REST and file.name not in anew and not is_index:
            write_atomic(folder / file.name, file.read_bytes())


def _write_meta_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the `tokenizer.model` that Meta's own code reads, where there can be one."""
    if tokenizer.spm_model is not None:
        return  # written with the tokenizer
    table = tiktoken.tiktoken_bytes(tokenizer)
    if table is not None:
        write_atomic(folder / "tokenizer.model", table)
        return
    log.warning(
        "the tokenizer has no form that Meta's own code reads; its tokenizer.json is in %s", folder
    )


def _write_configs(folder: Path, source: Source, tokenizer: Tokenizer | None) -> None:
    """Write `config.json` and, if there is none yet, `generation_config.json`."""
    if source.layout == "hf":
        write_json(folder / CONFIG, source.config)
        return
    ids: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2}
    if tokenizer is not None:
        ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
        ids["pad_token_id"] = tokenizer.pad_id
    write_json(folder / CONFIG, source.config | ids)
    if (folder / GENERATION).is_file():
        return
    turns = [tokenizer.vocabulary.get(name) for name in END_OF_TURN] if tokenizer else []
    ends = [ids["eos_token_id"], *(index for index in turns if index is not None)]
    ids["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    write_json(folder / GENERATION, ids)


def _not_said(source: Source, to: str) -> dict[str, Any] | None:
    """Return what the layout of the result has no words for, and the way back needs."""
    said: dict[str, Any] = {"rope_freqs": source.rope_freqs} if source.rope_freqs else {}
    if to == "meta":
        said["max_length"] = source.config["max_position_embeddings"]
        said["is_tied"] = bool(source.config.get("tie_word_embeddings"))
    return said or None
