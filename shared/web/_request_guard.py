"""Rejection of requests that another site made a browser send."""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.runtime.browser_requests import rejection
from shared.web._problem import Problem


class RequestGuard:
    """ASGI middleware that answers 421 to a Host that is not allowed, and 403 to requests of another site.

    Every page that a browser shows can send requests to a service on the same machine or network.
    Navigations, which follow a link, are let through: the other site cannot read them.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._rejection(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await problem.response()(scope, receive, send)

    def _rejection(self, scope: Scope) -> Problem | None:
        rejected = rejection(scope["method"], scope["headers"], allowed_hosts=self._allowed, is_linkable=True)
        return Problem(*rejected) if rejected else None
