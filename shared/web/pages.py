"""Pages: a long list is read piece by piece, each from where the one before ended."""

from fastapi import Request, Response


def link_next(request: Request, response: Response, after: object) -> None:
    """Tells in a `Link` header (RFC 8288) that the list goes on after the item with this key."""
    url = request.url.include_query_params(after=after)
    response.headers["link"] = f'<{url}>; rel="next"'
