"""`hanlin weights download`: a checkpoint from a hub, a mirror or a folder, whole and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.options import ManyFiles, force_option, json_option


@click.command(cls=ManyFiles)
@click.argument("repo")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--from", "source", type=click.Choice(["auto", "hub", "modelscope"]), default="auto",
    show_default=True, help="Where owner/name is looked for; auto: a folder, else the hub.",
)  # fmt: skip
@click.option("--endpoint", metavar="URL", help="Address of a mirror, instead of HF_ENDPOINT.")
@click.option("--revision", help="Branch, tag or commit; the main branch otherwise.")
@click.option("--include", multiple=True, metavar="GLOB...", help="Only files like these.")
@click.option("--exclude", multiple=True, metavar="GLOB...", help="No files like these.")
@force_option
@json_option
def download(
    repo: str, directory: Path, include: tuple[str, ...], exclude: tuple[str, ...],
    force: bool, as_json: bool, **where: Any,  # noqa: ANN401 - source, endpoint, revision
) -> None:  # fmt: skip
    """Download REPO to DIR, which appears complete and checked by digest, or not at all.

    REPO is owner/name on the hub or on ModelScope, the address of a folder on a web server that
    holds a SHA256SUMS, or a local folder (also as file://). The weights come in one format, as
    safetensors where there are some; what is left out is said. After a break the same command
    goes on where it stopped. HF_ENDPOINT names a mirror, HF_TOKEN opens private models.

    \b
    Examples:
      hanlin weights download Qwen/Qwen2.5-0.5B models/qwen
      hanlin weights download Qwen/Qwen2.5-0.5B models/qwen --endpoint https://hf-mirror.com
      hanlin weights download Qwen/Qwen2.5-0.5B models/qwen --from modelscope --exclude "*.md"
      hanlin weights download https://models.example.org/llama-7b models/llama
    """
    from hanlin.core.meter import size_text
    from hanlin.weights.download.download import download as fetch
    from hanlin.weights.download.listing import find_repository

    repository = find_repository(repo, **where)
    result = fetch(
        repository, directory, include=include, exclude=exclude, force=force,
        progress=console.progress(),
    )  # fmt: skip
    files, skipped = result["files"], result["skipped"]
    at = f" at {result['revision'][:12]}" if result["revision"] else ""
    lines = [f"{directory}: {len(files)} files, {size_text(result['size_bytes'])}, from "
             f"{result['origin']}{at}"]  # fmt: skip
    if result["resumed_bytes"]:
        lines.append(f"{size_text(result['resumed_bytes'])} of it were here from a run before")
    reasons = dict.fromkeys(file["reason"] for file in skipped)
    for reason in reasons:
        group = [file for file in skipped if file["reason"] == reason]
        size = size_text(sum(file["size_bytes"] for file in group))
        lines.append(f"left out, {reason}: {_names(group)} ({size})")
    console.result(result, as_json=as_json, text="\n".join(lines))


def _names(files: list[dict[str, Any]], shown: int = 4) -> str:
    names = ", ".join(file["path"] for file in files[:shown])
    return names + (f" and {len(files) - shown} more" if len(files) > shown else "")
