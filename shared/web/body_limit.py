"""BodyLimit: no request body is read beyond a limit."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web.problem import Problem


class BodyLimit:
    """ASGI middleware that answers 413 to a body over `limit` bytes, whether its length is told or not.

    No more is read than the length that was told (RFC 9112, 6.3). A body of untold length is read here and
    handed on whole: an error raised while an endpoint reads it would be taken for a malformed body.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        length = None if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
        if length is None:
            await self._whole(scope, receive, send)
        elif length > self._limit:
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._read(receive)
        if body is None:
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = Problem(413, f"the body is over the limit of {self._limit} bytes")
        await refusal.response()(scope, receive, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None when it is over the limit."""
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
