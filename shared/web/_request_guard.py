"""Rejection of requests that another site made a browser send."""

import re
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.runtime.settings import ANY_HOST
from shared.web._problem import Problem

_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?", re.IGNORECASE)


class RequestGuard:
    """ASGI middleware that answers 421 to a Host that is not allowed, and 403 to requests of another site.

    Every page that a browser shows can send requests to a service on the same machine or network. The check
    of Host prevents DNS rebinding, by which it could also read the responses. Navigations, which follow a
    link, are let through: the other site cannot read them (see https://web.dev/articles/fetch-metadata).
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(host.lower().encode() for host in allowed_hosts)
        self._allows_any = ANY_HOST in allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._rejection(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await problem.response()(scope, receive, send)

    def _rejection(self, scope: Scope) -> Problem | None:
        host = origin = site = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    return Problem(400, "The request has more than one Host header")
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
        if host is None:
            return Problem(400, "The request has no Host header")
        if not self._is_allowed(host):
            return Problem(421, f"Host {host.decode('latin-1')!r} is not in ALLOWED_HOSTS")
        if origin is not None and origin.partition(b"://")[2].lower() != host.lower():
            return Problem(403, f"Requests from {origin.decode('latin-1')!r} are not accepted")
        if site == b"cross-site" and not _is_navigation(scope):
            return Problem(403, "Requests from pages of other sites are not accepted")
        return None

    def _is_allowed(self, host: bytes) -> bool:
        match = _HOST.fullmatch(host)
        return match is not None and (self._allows_any or match[1].lower() in self._allowed)


def _is_navigation(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return (
        scope["method"] == "GET"
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest") == b"document"
    )
