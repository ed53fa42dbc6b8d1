"""Cursor pagination of lists."""

from typing import Annotated

from fastapi import Query, Request, Response

Limit = Annotated[int, Query(ge=1, le=1_000)]
"""Maximum number of items on a page."""


def link_next(request: Request, response: Response, **cursor: object) -> None:
    """Add a `Link` header (RFC 8288) to the next page, which begins after the item with these keys."""
    url = request.url.include_query_params(**cursor)
    response.headers["link"] = f'<{url}>; rel="next"'
