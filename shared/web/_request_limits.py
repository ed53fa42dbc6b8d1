"""Limits of concurrent requests and of their bodies, and authentication before a body is read."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web._problem import Problem

MAX_REQUESTS = 128
"""Requests of one process that are served at a time, not counting those whose body is still arriving."""

BODY_LIMIT = 64 * 1024
"""Bytes of a request body, unless its path has a limit of its own."""

HEALTH = frozenset({"/livez", "/readyz"})
"""Paths that are answered under any load."""

Authenticate = Callable[[Scope], Awaitable[None]]
"""Raises Problem if the endpoint of the scope requires a token that the request does not have."""


class RequestLimits:
    """ASGI middleware that answers 503 beyond MAX_REQUESTS, and 413 to a body over its path's limit.

    `body_limits` has the limits of paths that accept more than BODY_LIMIT. `authenticate` is called before
    the first byte of a body is passed on: FastAPI reads and parses it before it resolves dependencies.
    """

    def __init__(self, app: ASGIApp, *, body_limits: Mapping[str, int], authenticate: Authenticate) -> None:
        self._app = app
        self._body_limits = body_limits
        self.authenticate = authenticate
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in HEALTH:
            await self._app(scope, receive, send)
            return
        if self.running >= MAX_REQUESTS:
            await _overloaded().response()(scope, receive, send)
            return
        body = _LimitedBody(self, scope, receive, self._body_limits.get(scope["path"], BODY_LIMIT))
        self.running += 1
        try:
            await self._app(scope, body.receive, send)
        finally:
            self.running -= 1


class _LimitedBody:
    """Body of a request. `receive` raises Problem: 401 and 403, 413, and 503 when the body has arrived but
    there are too many requests by now."""

    __slots__ = ("_is_begun", "_limit", "_limits", "_receive", "_scope", "_size")

    def __init__(self, limits: RequestLimits, scope: Scope, receive: Receive, limit: int) -> None:
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._is_begun = False

    async def receive(self) -> Message:
        if not self._is_begun:
            self._is_begun = True
            await self._limits.authenticate(self._scope)
            self._check(_declared_size(self._scope))
        message = await self._next()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._check(self._size)
            if self._limits.running > MAX_REQUESTS:
                raise _overloaded()
        return message

    async def _next(self) -> Message:
        self._limits.running -= 1  # a request that waits for its client keeps no other waiting
        try:
            return await self._receive()
        finally:
            self._limits.running += 1

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise Problem(413, f"Request body exceeds the limit of {self._limit} bytes")


def _declared_size(scope: Scope) -> int:
    """Return Content-Length, which the server enforces (RFC 9112, 6.3), or 0."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


def _overloaded() -> Problem:
    return Problem(503, "Too many requests at present; retry later", headers={"retry-after": "1"})
