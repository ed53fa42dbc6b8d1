"""Problem types (RFC 9457, 3.1.1): each has a URI, which leads to its description on the page `/problems`."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from http import HTTPStatus

from starlette.responses import HTMLResponse

PAGE = "/problems"


@dataclass(frozen=True)
class ProblemType:
    """Type of a problem, in an error response and on the page."""

    name: str
    description: str

    @property
    def anchor(self) -> str:
        return self.name.lower().replace(" ", "-")

    @property
    def uri(self) -> str:
        """URI reference: a service behind a proxy does not know the address that its clients use."""
        return f"{PAGE}#{self.anchor}"


BY_STATUS = {
    400: ProblemType("Malformed request", "The request is not HTTP or its body is not JSON."),
    401: ProblemType("Unauthenticated", "The request has no token, or an unknown one."),
    403: ProblemType("Forbidden", "The token's owner may not do this, or a page of another site sent it."),
    404: ProblemType("Not found", "There is no such resource."),
    405: ProblemType("Method not allowed", "The resource does not have the method; `Allow` lists its own."),
    408: ProblemType("Request timeout", "The request was not received in time."),
    409: ProblemType("Conflict", "The request conflicts with the state of the resource."),
    412: ProblemType("Precondition failed", "The resource does not meet If-Match or If-None-Match."),
    413: ProblemType("Body too large", "The body exceeds the limit of its endpoint."),
    415: ProblemType("Unsupported media type", "The body's Content-Type is not the one of the endpoint."),
    421: ProblemType("Misdirected request", "The Host is not one of the service's ALLOWED_HOSTS."),
    422: ProblemType("Invalid values", "Values are missing or invalid; `errors` lists them."),
    431: ProblemType("Head too large", "Request line and headers, or trailers, exceed the limit."),
    500: ProblemType("Internal error", "The service failed; its log has the reason."),
    503: ProblemType("Unavailable", "The service or a dependency is unavailable or overloaded; retry later."),
}


def of_status(status: int) -> ProblemType:
    return BY_STATUS.get(status) or ProblemType(HTTPStatus(status).phrase.capitalize(), "")


def of_error(error: type[Exception]) -> ProblemType:
    """Return the type named after the class of a domain error: VersionMismatch is "Version mismatch"."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", error.__name__).capitalize()
    return ProblemType(words, inspect.getdoc(error) or "")


def with_subclasses(errors: Iterable[type[Exception]]) -> Iterable[type[Exception]]:
    for error in errors:
        yield error
        yield from with_subclasses(error.__subclasses__())


def page(title: str, errors: Iterable[type[Exception]]) -> HTMLResponse:
    """Return the page with the types of all statuses and of these errors."""
    types = [*BY_STATUS.values(), *(of_error(error) for error in with_subclasses(errors))]
    sections = "".join(map(_section, dict.fromkeys(types)))
    heading = f"Problems of the {escape(title)}"
    return HTMLResponse(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{heading}</title></head>'
        f"<body><h1>{heading}</h1>{sections}</body></html>",
        headers={"content-security-policy": "default-src 'none'; frame-ancestors 'none'"},
    )


def _section(each: ProblemType) -> str:
    description = escape(each.description)
    return f'<section id="{escape(each.anchor)}"><h2>{escape(each.name)}</h2><p>{description}</p></section>'
