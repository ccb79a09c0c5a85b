"""`hanlin serve MODEL`: answer over HTTP, as OpenAI's API and as KnowLM's.

hanlin serve runs/quickstart
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.chat.settings import engine_options, take_engine
from hanlin.cli.options import Finite, json_option
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import os_error
from hanlin.serving.settings import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Settings,
    UiPlace,
    is_loopback,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from hanlin.extraction.schema import Schema
    from hanlin.serving.service import Service

KEY_VARIABLE = "HANLIN_API_KEY"
existing = click.Path(path_type=Path)
positive = click.IntRange(1)


@click.command()
@click.argument("model")
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535),
    help="Port; 0 takes a free one.",
)  # fmt: skip
@click.option("--name", help="What clients call the model; default: the last part of MODEL.")
@click.option("--prompt", help="Prompt format; default: the one the model was tuned on.")
@click.option(
    "--key-file", type=existing,
    help=f"API keys, one on each line; default: those in the variable {KEY_VARIABLE}.",
)  # fmt: skip
@click.option("--no-key", is_flag=True, help="Let everybody ask who can connect.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="Further name of this server.")
@click.option("--cors-origin", multiple=True, metavar="ORIGIN", help="Page that may ask.")
@click.option(
    "--schema", "schema_files", multiple=True, type=existing,
    help="Schema file that /v1/extract knows by its name.",
)  # fmt: skip
@click.option(
    "--max-running", default=Settings.max_running, show_default=True, type=positive,
    help="Answers generated at once.",
)  # fmt: skip
@click.option(
    "--max-waiting", default=Settings.max_waiting, show_default=True, type=click.IntRange(0),
    help="Answers that wait; more are refused.",
)  # fmt: skip
@click.option(
    "--max-new-tokens", default=Settings.max_new_tokens, show_default=True, type=positive,
    help="Longest answer, in tokens.",
)  # fmt: skip
@click.option(
    "--timeout", default=Settings.timeout_s, show_default=True, type=Finite(0.1),
    help="Seconds that a request may take.",
)  # fmt: skip
@click.option("--ui", is_flag=True, help="Also show a web page to chat in, at /ui.")
@click.option("--compare", metavar="MODEL", help="Second model for the page.")
@click.option("--runs", type=existing, help="Folder of runs whose report cards the page shows.")
@click.option(
    "--language", type=click.Choice(["zh", "en"]),
    help="Of the page; default: what the browser asks for.",
)  # fmt: skip
@engine_options
@json_option
def serve(  # noqa: PLR0913 - one for each option
    model: str,
    *,
    host: str,
    port: int,
    key_file: Path | None,
    no_key: bool,
    allow_host: tuple[str, ...],
    cors_origin: tuple[str, ...],
    schema_files: tuple[Path, ...],
    max_running: int,
    max_waiting: int,
    max_new_tokens: int,
    timeout: float,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - of the model and of the page
) -> None:
    """Serve MODEL over HTTP: OpenAI's API, KnowLM's /generate, extraction, Prometheus' numbers.

    MODEL is a folder, a .gguf file, a run directory or a hub id. SIGTERM or Ctrl-C ends it.

    \b
    Examples:
      hanlin serve runs/quickstart
      hanlin serve runs/quickstart --ui --port 0
      hanlin serve runs/quickstart --host 0.0.0.0 --key-file keys.txt --schema schema.yaml
    """
    from hanlin.core.extras import require

    for package in ("fastapi", "uvicorn", "prometheus_client"):
        require(package, extra="serve", purpose="serving a model")
    from hanlin.extraction.schema import load_schemas
    from hanlin.serving.run import listen, log_requests, new_server, url_of

    keys = () if no_key else _keys(key_file)
    _check_reach(host, keys, no_key=no_key)
    settings = Settings(
        host=host, keys=keys, hosts=allow_host, origins=cors_origin, max_running=max_running,
        max_waiting=max_waiting, max_new_tokens=max_new_tokens, timeout_s=timeout,
    )  # fmt: skip
    schemas = {file.stem: load_schemas(file) for file in schema_files}
    with listen(host, port) as listening:  # before the model is loaded, which may take long
        place = _open(model, settings, options, schemas)
        app, service = _build(place, settings, has_page=options["ui"], language=options["language"])
        log_requests()
        address = url_of(listening)
        value = {"address": address, "model": place.name, "prompt": place.format.name}
        text = f"{place.name} is served at {address} (Ctrl-C ends it)"
        if options["ui"]:
            text += f"\nopen {address}/ui in a browser"

        def say_ready() -> None:
            console.result(value, as_json=as_json, text=text)

        new_server(app, service, when_ready=say_ready).run(sockets=[listening])
    console.note("stopped")


def _keys(file: Path | None) -> tuple[str, ...]:
    """Return the keys of a file, or of the environment."""
    if file is None:
        return tuple(os.environ.get(KEY_VARIABLE, "").split())
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise os_error(error, file) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is no UTF-8 text", why=str(error), fix="write one key on each line"
        ) from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise InputError(
            f"{file} holds no key", why="everybody could ask", fix="write one key on each line"
        )
    return keys


def _check_reach(host: str, keys: tuple[str, ...], *, no_key: bool) -> None:
    """Let nobody open a server to others without a key by mistake."""
    if is_loopback(host):
        return
    if not keys and not no_key:
        raise ConfigError(
            f"other machines can connect to {host}, and no API key is set",
            why="everybody in the network could use the model",
            fix=f"give --key-file FILE or set {KEY_VARIABLE}; --no-key if that is what you want",
        )
    whose = "whoever has a key" if keys else "everybody who can connect"
    console.note(f"warning: {host} is open to other machines: {whose} can use the model")


def _open(
    model: str, settings: Settings, options: dict[str, Any], schemas: dict[str, dict[str, Schema]]
) -> UiPlace:
    """Load the model, and the one that it is compared with."""
    from hanlin.inference.conversation import prompt_format
    from hanlin.inference.scheduler import Scheduler

    runs, other = options.pop("runs"), options.pop("compare")
    name, prompt = options.pop("name"), options.pop("prompt")

    def load(path: str, called: str | None, **more: Any) -> UiPlace:  # noqa: ANN401
        engine = take_engine(path, dict(options))
        last = Path(path.rstrip("/")).name.removesuffix(".gguf")
        return UiPlace(
            name=called or re.sub(r"[^\w.-]", "-", last) or "model",
            engine=engine,
            scheduler=Scheduler(engine, max_running=settings.max_running),
            format=prompt_format(engine, name=prompt),
            **more,
        )

    compared = None if other is None else load(other, None)
    return load(model, name, schemas=schemas, other=compared, runs=runs, report_html=_report_html)


def _build(
    place: UiPlace, settings: Settings, *, has_page: bool, language: str | None
) -> tuple[ASGIApp, Service]:
    from hanlin.serving.app import build_app, guarded, lead_to_page
    from hanlin.serving.metrics import Metrics
    from hanlin.serving.service import Service

    service = Service(
        place.engine, scheduler=place.scheduler, format=place.format, name=place.name,
        settings=settings, metrics=Metrics(),
    )  # fmt: skip
    app = build_app(service, schemas=place.schemas)
    if has_page:
        from hanlin.serving.ui import mount

        lead_to_page(app)
        mount(app, place, language=language, max_new_tokens=settings.max_new_tokens)
    return guarded(app, service), service


def _report_html(run: Path) -> str:
    """Return a run's report card as a page."""
    from hanlin.pipeline.report.build import build
    from hanlin.pipeline.report.html import render

    return render(build(run))
