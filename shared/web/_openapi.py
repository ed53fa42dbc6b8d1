"""OpenAPI document of a service: FastAPI's, with the error responses of all services added."""

from typing import Any

from fastapi import FastAPI

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


def problems(*statuses: int) -> Responses:
    """Return the `responses` of an endpoint for its error statuses.

    Statuses that follow from its parameters, body, authentication or database are added automatically.
    """
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": BY_STATUS[status].description, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def header(name: str, description: str, pattern: str) -> dict[str, Any]:
    """Return the OpenAPI object of an optional request header."""
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def with_headers(*headers: dict[str, Any]) -> dict[str, Any]:
    """Return the `openapi_extra` of an endpoint that reads these headers from the request itself.

    Header parameters of FastAPI cost more per request, even if absent, than pydantic needs for the body.
    """
    return {"parameters": list(headers)}


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
