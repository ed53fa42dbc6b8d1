"""Pages: a long list is read piece by piece, each from where the one before ended."""

from fastapi import Request, Response


def link_next(request: Request, response: Response, **cursor: object) -> None:
    """Tells in a `Link` header (RFC 8288) that the list goes on after the item with these keys."""
    url = request.url.include_query_params(**cursor)
    response.headers["link"] = f'<{url}>; rel="next"'
