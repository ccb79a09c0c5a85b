"""What does the server answer on which path?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from hanlin import __version__
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.schema import ready_schemas
from hanlin.serving import replies, requests
from hanlin.serving.chat import answer_chat
from hanlin.serving.completions import answer_completion
from hanlin.serving.decoding import check_model
from hanlin.serving.errors import ApiError, ErrorReply, install
from hanlin.serving.extract import Schemas, extract
from hanlin.serving.guard import Guard
from hanlin.serving.knowlm import generate
from hanlin.serving.service import Service
from hanlin.serving.ui import PATH

STATUSES = {
    400: "The request is wrong.", 401: "A key is needed.", 403: "Not for this host or page.",
    404: "There is no such model or schema.", 408: "The request did not arrive in time.",
    413: "The request is too long.", 415: "The body must be JSON.",
    429: "The queue is full; see Retry-After.", 500: "The server failed.",
    501: "A package is not installed.", 503: "The model failed, or the server is being stopped.",
    504: "It took too long.",
}  # fmt: skip
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply, "description": text} for status, text in STATUSES.items()
}

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; with stream: true server-sent events, each with one JSON value "
        "as OpenAI's API has it, and [DONE] in the end.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
ABOUT = "OpenAI's chat, completions and models, KnowLM's generate, extraction of facts."


class JsonRequest(Request):
    """A request whose JSON is read strictly: UTF-8, no NaN, no half surrogate pairs, not deep."""

    async def json(self) -> Any:  # noqa: ANN401 - any JSON value
        """Return the body's value."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


class JsonRoute(APIRoute):
    """A route that takes JSON only: other kinds of body are what a page elsewhere could send."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return what serves a request."""
        serve = super().get_route_handler()

        async def checked(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if request.method == "POST" and kind != "application/json":
                raise ApiError(415, "send JSON, with the header 'Content-Type: application/json'")
            return await serve(JsonRequest(request.scope, request.receive))

        return checked


def build_app(service: Service, *, schemas: Schemas) -> FastAPI:
    """Return the API, not guarded yet; its description is at /openapi.json.

    Args:
        service: answers.
        schemas: name -> language -> types that clients can name.
    """

    @asynccontextmanager
    async def closing(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="Hanlin",
        version=__version__,
        description=ABOUT,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=closing,
        responses=ERRORS,
        redirect_slashes=False,
    )
    app.router.route_class = JsonRoute
    install(app)
    _add_answers(app, service, schemas)
    _add_states(app, service)
    _describe(app, service, schemas)
    return app


def lead_to_page(app: FastAPI) -> None:
    """Let the bare address, and the page's without its slash, lead to the page."""

    async def redirect() -> RedirectResponse:
        return RedirectResponse(f"{PATH}/")

    for path in ("/", PATH):
        app.add_api_route(path, redirect, include_in_schema=False, response_class=RedirectResponse)


def guarded(app: FastAPI, service: Service) -> ASGIApp:
    """Return the app behind its guard, for the server to run."""
    settings = service.settings
    guard: ASGIApp = Guard(app, settings=settings, report=service.metrics.report)
    if settings.origins:
        guard = CORSMiddleware(
            guard, allow_origins=settings.origins, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )  # fmt: skip
    return guard


def _add_answers(app: FastAPI, service: Service, schemas: Schemas) -> None:
    @app.post("/v1/chat/completions", response_model=replies.ChatReply, responses=EVENTS)
    async def chat_completions(body: requests.ChatBody, request: Request) -> Response:
        """Answer a conversation."""
        return await answer_chat(service, body, request)

    @app.post("/v1/completions", response_model=replies.CompletionReply, responses=EVENTS)
    async def completions(body: requests.CompletionBody, request: Request) -> Response:
        """Go on with a text, without any prompt format."""
        return await answer_completion(service, body, request)

    @app.post("/generate")
    async def knowlm_generate(
        body: requests.GenerateBody, request: Request
    ) -> replies.GenerateReply:
        """Answer an instruction, as KnowLM's server does."""
        return await generate(service, body, request)

    @app.post("/v1/extract")
    async def extract_facts(body: requests.ExtractBody, request: Request) -> replies.ExtractReply:
        """Find entities, relations and events in texts."""
        return replies.ExtractReply(data=await extract(service, schemas, body, request))


def _add_states(app: FastAPI, service: Service) -> None:
    entry = replies.ModelEntry(
        id=service.name, created=service.created, root=service.name,
        max_model_len=service.engine.max_length,
    )  # fmt: skip

    @app.get("/v1/models")
    async def models() -> replies.ModelList:
        """List the models: there is one."""
        return replies.ModelList(data=[entry])

    @app.get("/v1/models/{model}")
    async def model(model: str) -> replies.ModelEntry:
        """Describe a model."""
        check_model(service, model)
        return entry

    @app.get("/is_ready")
    async def is_ready() -> bool:
        """Tell whether requests are answered, as KnowLM's server does."""
        return not service.is_closing

    @app.get("/healthz")
    async def health() -> replies.Health:
        """Tell how the server is."""
        return replies.Health(model=service.name, running=service.running, waiting=service.waiting)

    @app.get("/metrics", response_class=Response, responses={200: _content("text/plain")})
    async def metrics() -> Response:
        """Give the numbers that Prometheus collects."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(service.metrics.text(), media_type=kind)


def _content(kind: str) -> dict[str, Any]:
    return {"description": "The numbers.", "content": {kind: {"schema": {"type": "string"}}}}


def _describe(app: FastAPI, service: Service, schemas: Schemas) -> None:
    """Add to FastAPI's description what only this server knows; wrong requests get 400, not 422."""
    description = app.openapi()
    for path in description["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    bodies = description["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        bodies.pop(name, None)
    for body in bodies.values():
        fields = body.get("properties", {})
        for name in fields.keys() & {"max_tokens", "max_completion_tokens"}:
            for kind in fields[name].get("anyOf", [fields[name]]):
                if kind["type"] == "integer":
                    kind["maximum"] = service.settings.max_new_tokens
    for name in ("ChatBody", "CompletionBody"):
        bodies[name]["properties"]["model"]["anyOf"][0] = {"enum": [service.name]}
    names = [*schemas, *ready_schemas()]
    bodies["ExtractBody"]["properties"]["schema"]["anyOf"][0] = {"enum": names}
    bodies["ExtractBody"]["properties"]["form"] |= {"enum": list(FORMATS)}
    if service.settings.keys:
        key = {"type": "http", "scheme": "bearer"}
        description["components"]["securitySchemes"] = {"key": key}
        description["security"] = [{"key": []}]
