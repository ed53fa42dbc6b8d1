"""Size limit of request bodies."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web._problem import Problem


class BodyLimit:
    """ASGI middleware that answers 413 to a body over `limit` bytes, with or without Content-Length.

    The server reads no more than Content-Length (RFC 9112, 6.3). A chunked body is read here and passed on
    whole: FastAPI reports an error raised while it reads a body as a malformed body.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        length = None if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
        if length is None:
            await self._buffer(scope, receive, send)
        elif length > self._limit:
            await self._reject(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _buffer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._read(receive)
        if body is None:
            await self._reject(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)

    async def _reject(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(413, f"Request body exceeds the limit of {self._limit} bytes")
        await problem.response()(scope, receive, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body, None when it exceeds the limit."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                return None
        return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def replay() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
