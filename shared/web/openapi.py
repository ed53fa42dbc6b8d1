"""The OpenAPI document: FastAPI derives it from the endpoints, and here it learns how they refuse."""

from typing import Any

from fastapi import FastAPI

from shared.web.problem import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

_METHODS = {"get", "put", "post", "delete", "patch"}
_WRITTEN_BY_FASTAPI = ("HTTPValidationError", "ValidationError")

_PROBLEM = {
    "title": "Problem",
    "description": "Problem details, RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
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

_MEANINGS = {
    400: "The request is malformed",
    401: "The request shows no token that is known",
    403: "The token is not of somebody who may do this",
    404: "There is no such thing",
    409: "The state of the thing does not allow it",
    412: "The thing is no longer as the If-Match header says",
    413: "The body is too large",
    415: "The body is of another content type",
    422: "A value is missing or wrong; `errors` says which",
    503: "Something that this needs is away just now",
}


def problems(*statuses: int) -> Responses:
    """For the `responses` of an endpoint: the problems that it answers with. Those that come from its
    parameters, its body, its access or the database need not be named."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def header(name: str, description: str, pattern: str) -> dict[str, Any]:
    """A header that a request may have."""
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def with_headers(*headers: dict[str, Any]) -> dict[str, Any]:
    """For the `openapi_extra` of an endpoint that reads these headers itself. For every request FastAPI takes
    longer to find that a header is not there than pydantic takes to read the body."""
    return {"parameters": list(headers)}


class DocumentedProblems(FastAPI):
    """An application whose OpenAPI document names the problems that its edge answers."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name in _WRITTEN_BY_FASTAPI:
            schemas.pop(name, None)
        schemas["Problem"] = _PROBLEM
        for path in document["paths"].values():
            for method in _METHODS & path.keys():
                _add_problems(path[method])
        return document


def _add_problems(operation: dict[str, Any]) -> None:
    responses: dict[str, Any] = operation["responses"]
    needs_token = {} not in operation.get("security", [{}])
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for status, is_possible in {
        400: "requestBody" in operation,
        401: needs_token,
        403: needs_token,
        413: "requestBody" in operation,
        422: "requestBody" in operation or "parameters" in operation,
        503: "health" not in operation.get("tags", ()),
    }.items():
        if is_possible:
            responses.setdefault(str(status), problems(status)[status])
