"""Pages: a long list is read piece by piece, each from where the one before ended."""

from typing import Annotated

from fastapi import Query, Request, Response

Limit = Annotated[int, Query(ge=1, le=1_000)]
"""The items of one page, at most."""


def link_next(request: Request, response: Response, **cursor: object) -> None:
    """Tells in a `Link` header (RFC 8288) that the list goes on after the item with these keys."""
    url = request.url.include_query_params(**cursor)
    response.headers["link"] = f'<{url}>; rel="next"'
