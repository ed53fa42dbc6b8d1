"""OpenAPI document of a service: FastAPI's, with the error responses of all services added."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from shared.web._problem import MEDIA_TYPE
from shared.web._problem_types import BY_STATUS

Responses = dict[int | str, dict[str, Any]]

READER_SCHEME = "readerToken"
"""Security scheme of reads that need no token in development."""

_METHODS = {"get", "put", "post", "delete", "patch"}
_FASTAPI_SCHEMAS = ("HTTPValidationError", "ValidationError")

_PROBLEM = {
    "title": "Problem",
    "description": "Problem details, RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}


_HEADERS = {
    name: {"description": description, "schema": {"type": "string"}}
    for name, description in {
        "Accept": "Media type that the endpoint accepts",
        "ETag": "Entity tag for If-Match and If-None-Match",
        "Link": 'Reference to the next page, with `rel="next"`; absent on the last one',
        "Location": "Path of the created resource",
        "Retry-After": "Seconds to wait; absent if the outcome is unknown",
        "WWW-Authenticate": "Scheme of the token, `Bearer`",
    }.items()
}

_HEADERS_OF = {401: "WWW-Authenticate", 415: "Accept", 503: "Retry-After"}
"""Headers of error responses."""


def problems(*statuses: int) -> Responses:
    """Return the `responses` of an endpoint for its error statuses.

    Statuses that follow from its parameters, body, authentication or database are added automatically.
    """
    schema = {"$ref": "#/components/schemas/Problem"}
    responses: Responses = {}
    for status in statuses:
        responses[status] = {
            "description": BY_STATUS[status].description,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        if name := _HEADERS_OF.get(status):
            responses[status]["headers"] = {name: _HEADERS[name]}
    return responses


def header(name: str, description: str, pattern: str) -> dict[str, Any]:
    """Return the OpenAPI object of an optional request header."""
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def with_headers(*headers: dict[str, Any]) -> dict[str, Any]:
    """Return the `openapi_extra` of an endpoint that reads these headers from the request itself.

    Header parameters of FastAPI cost more per request, even if absent, than pydantic needs for the body.
    """
    return {"parameters": list(headers)}


def response_headers(status: int, *names: str) -> Responses:
    """Return the `responses` of an endpoint whose successful response has these headers."""
    return {status: {"headers": {name: _HEADERS[name] for name in names}}}


PAGED = response_headers(200, "Link")
"""`responses` of an endpoint whose pages are linked."""


def operation_id(route: APIRoute) -> str:
    """Return the name of the operation in generated clients, such as `orders_place`."""
    tag = str(route.tags[0]).lower().replace(" ", "_") if route.tags else "service"
    return f"{tag}_{route.name}"


class DocumentedProblems(FastAPI):
    """An application whose OpenAPI document contains the error responses of its HTTP edge."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema:
            return self.openapi_schema
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name in _FASTAPI_SCHEMAS:
            schemas.pop(name, None)
        schemas["Problem"] = _PROBLEM
        for path in document["paths"].values():
            for method in _METHODS & path.keys():
                if self.state.has_open_reads and {READER_SCHEME: []} in path[method].get("security", ()):
                    path[method]["security"].append({})
                _add_problems(path[method])
        return document


def _add_problems(operation: dict[str, Any]) -> None:
    responses: dict[str, Any] = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for status, is_possible in {
        400: "requestBody" in operation,
        401: "security" in operation,
        403: "security" in operation,
        413: "requestBody" in operation,
        415: "requestBody" in operation,
        422: "requestBody" in operation or "parameters" in operation,
        503: "health" not in operation.get("tags", ()),
    }.items():
        if is_possible:
            responses.setdefault(str(status), problems(status)[status])
