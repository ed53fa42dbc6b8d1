"""BodyLimit: no request body is read beyond a limit."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web.problem import Problem


class BodyLimit:
    """ASGI middleware that answers 413 to a body over `limit` bytes, said in advance or not."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > self._limit:
            await self._refusal().response()(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise self._refusal()
            return message

        return counted

    def _refusal(self) -> Problem:
        return Problem(413, f"the body is over the limit of {self._limit} bytes")
