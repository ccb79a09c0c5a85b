"""What does a client read when something is wrong? One JSON error, in OpenAI's shape.

{"error": {"message": "...", "type": "invalid_request_error", "param": "top_p", "code": null}}
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from hanlin.core.errors import ConfigError, HanlinError, InputError, MissingExtraError

log = logging.getLogger(__name__)
INVALID = "invalid_request_error"
CLIENT_LEFT = 499  # nginx's status for it; nobody reads the reply
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
SHOWN = 5  # complaints of one request that are named


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """Every reply that is no answer."""

    error: ErrorDetail


class ApiError(Exception):
    """A request that ends with an error.

    Args:
        status: the HTTP status.
        message: what is wrong and what to do, without anything secret.
        param: the field of the request that is wrong.
        code: OpenAI's short name of the reason.
        headers: further headers of the reply.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """Return the reply's JSON value."""
        fallback = "server_error" if self.status >= 500 else INVALID
        detail = {
            "message": _encodable(self.message), "type": TYPES.get(self.status, fallback),
            "param": self.param and _encodable(self.param), "code": self.code,
        }  # fmt: skip
        return {"error": detail}

    def response(self) -> JSONResponse:
        """Return the reply."""
        return JSONResponse(self.body, self.status, self.headers)


def from_exception(error: BaseException) -> ApiError:
    """Return what a client reads of an exception; of a bug no more than that it is one."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ConfigError | InputError):
        code = "context_length_exceeded" if " tokens" in error.what else None
        return ApiError(400, _sentence(error), code=code)
    if isinstance(error, MissingExtraError):
        return ApiError(501, _sentence(error), code="not_installed")
    if isinstance(error, HanlinError):
        return ApiError(503, _sentence(error), code="backend_failed", headers={"Retry-After": "1"})
    places = "".join(traceback.format_tb(error.__traceback__))  # its message may hold a text
    log.error("%s while answering, at\n%s", type(error).__name__, places)
    return ApiError(500, "the server failed; its log says more", code="internal_error")


def install(app: FastAPI) -> None:
    """Let every kind of error of an app be answered in the same shape."""

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, RequestValidationError):
            return _invalid(error).response()
        if isinstance(error, HTTPException):
            message = f"{error.detail}; the API is described at /openapi.json"
            return ApiError(error.status_code, message, headers=error.headers).response()
        return from_exception(error).response()

    for kind in (RequestValidationError, HTTPException, ApiError, HanlinError, Exception):
        app.add_exception_handler(kind, answer)


def _invalid(error: RequestValidationError) -> ApiError:
    problems = [_problem(item) for item in error.errors()[:SHOWN]]
    param = next((name for name, _ in problems if name), None)
    lines = [f"{name}: {message}" if name else message for name, message in problems]
    return ApiError(400, "; ".join(lines), param=param)


def _problem(item: Any) -> tuple[str, str]:  # noqa: ANN401 - pydantic's ErrorDetails
    """Return the field and what is wrong with it; never the value, which is the user's text."""
    where = [str(part) for part in item["loc"][1:]]
    if item["type"] == "json_invalid":
        return "", f"the body is no JSON that can be read: {item['ctx']['error']}"
    if item["type"] == "extra_forbidden":
        return ".".join(where)[:100], "unrecognized request argument"
    if not where and item["type"] != "value_error":
        return "", "the body must be a JSON object"
    return ".".join(where)[:100], item["msg"].removeprefix("Value error, ")


def _sentence(error: HanlinError) -> str:
    return "; ".join(part for part in (error.what, error.why, error.fix) if part)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
