"""Problem details (RFC 9457), the format of all error responses."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from snsqs.postgres import DatabaseUnavailable, OutcomeUnknown, StatementTimeout
from starlette.exceptions import HTTPException

from shared.runtime.service_client import RequestRejected, ServiceUnavailable
from shared.web._problem_types import PAGE, ProblemType, of_error, of_status, page
from shared.web._request import media_type

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_JSON = "application/json"

ErrorStatuses = Mapping[type[Exception], int]
"""HTTP statuses of domain errors."""


class Problem(HTTPException):
    """An error response. Raised at the web edge only: domain code raises its own errors (see `map_errors`).

    `type` is by default that of the status; `more` adds members to the document. A subclass of HTTPException,
    because FastAPI reports any other error that is raised while it reads a body as a malformed body.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        type: ProblemType | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(status, detail, headers)
        self.status = status
        self.type = type or of_status(status)
        self.more = more

    def response(self) -> JSONResponse:
        document = {"type": self.type.uri, "title": self.type.name, "status": self.status}
        return JSONResponse(
            document | {"detail": self.detail} | self.more,
            self.status,
            headers=dict(self.headers or {}),
            media_type=MEDIA_TYPE,
        )


def map_errors(app: FastAPI, statuses: ErrorStatuses) -> None:
    """Answer domain errors with a problem of the given status, named after the error's class and with the
    error's message as its detail.

    A class covers its subclasses that have no status of their own.
    """
    app.state.mapped_errors.update(dict.fromkeys(statuses))
    for error, status in statuses.items():
        app.add_exception_handler(error, partial(_mapped, status))


async def _mapped(status: int, _: Request, error: Exception) -> JSONResponse:
    return Problem(status, str(error), type=of_error(type(error))).response()


async def _page(request: Request) -> HTMLResponse:
    return page(request.app.title, request.app.state.mapped_errors)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer all errors of the framework, the database and other services with problem details, whose types
    the page `/problems` describes."""
    app.state.mapped_errors = dict[type[Exception], None]()
    app.add_api_route(PAGE, _page, include_in_schema=False)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DatabaseUnavailable, _unavailable)
    app.add_exception_handler(StatementTimeout, _statement_timeout)
    app.add_exception_handler(OutcomeUnknown, _unknown_outcome)
    app.add_exception_handler(RequestRejected, _rejected)
    map_errors(app, {ServiceUnavailable: 503})
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    for each in error.errors():
        if problem := _unreadable(each, request):
            return problem.response()
    errors = [{"field": _field(each["loc"]), "reason": _reason(each)} for each in error.errors()]
    first = errors[0]
    return Problem(422, f"{first['field']}: {first['reason']}", errors=errors).response()


def _unreadable(error: dict[str, Any], request: Request) -> Problem | None:
    """Return the problem of a body that is not JSON, None for a body or parameter with invalid values."""
    if error["type"] == "json_invalid":
        return Problem(400, f"The body is not JSON: {error['ctx']['error']} at character {error['loc'][-1]}")
    if error["loc"] != ("body",):
        return None
    if error["type"] == "missing":
        return Problem(400, "The request has no body; JSON is required")
    media = media_type(request)
    if media != "application/json" and not media.endswith("+json"):
        expected = "The content type must be application/json"
        return Problem(415, f"{expected}, not {media}" if media else expected, headers={"accept": _JSON})
    return None


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods(request)):
        headers["Allow"] = ", ".join(methods)
    return Problem(error.status_code, str(error.detail), headers=headers).response()


def _methods(request: Request) -> list[str]:
    """All methods of the path; the framework lists those of its first endpoint only."""
    path = getattr(request.scope.get("route"), "path", None)
    methods = {method.upper() for method in request.app.openapi()["paths"].get(path, ())}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


async def _rejected(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestRejected)
    return Problem(error.status, str(error)).response()


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    log.warning("database unavailable", error=str(error))
    return Problem(503, "Database unavailable; retry later", headers={"retry-after": "2"}).response()


async def _statement_timeout(_: Request, error: Exception) -> JSONResponse:
    log.error("statement timeout", error=str(error))
    return Problem(503, "The database took too long; retry later", headers={"retry-after": "2"}).response()


async def _unknown_outcome(_: Request, error: Exception) -> JSONResponse:
    log.error("outcome of a commit unknown", error=str(error))
    detail = "Database connection lost during commit: read the current state before retrying"
    return Problem(503, detail).response()


async def _unexpected(_: Request, __: Exception) -> JSONResponse:
    return Problem(500, "Internal error; see the service's log").response()


def _reason(error: dict[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


def _field(location: tuple[int | str, ...]) -> str:
    """Return the path of a field in the body, such as `orderLines.0.quantity`, or a parameter's name."""
    source, *path = location
    if not path:
        return str(source)
    return ".".join(map(str, path))
