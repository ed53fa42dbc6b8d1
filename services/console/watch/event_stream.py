"""EventStream: response of server-sent events, until its client disconnects or the service stops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

log = structlog.get_logger(__name__)

EVENTS: dict[str, Any] = {
    "content": {
        "text/event-stream": {
            "schema": {
                "description": "Fields of an event.",
                "type": "object",
                "required": ["event", "data"],
                "properties": {
                    "event": {"type": "string"},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                    "id": {"type": "string"},
                    "retry": {"type": "integer"},
                },
            }
        }
    }
}
"""The response in the OpenAPI document."""


class EventStream(StreamingResponse):
    """Streaming response that drops slow clients. The available package polls for the end of the process in a
    task of its own, and answers a slow client with a traceback."""

    media_type = "text/event-stream"

    def __init__(
        self, stream: Callable[[], AbstractContextManager[AsyncIterator[bytes]]], *, send_timeout: float
    ) -> None:
        super().__init__((), headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._stream = stream
        self._send_timeout = send_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._stream() as chunks:
            sending = asyncio.ensure_future(self._send(chunks, send, scope["path"]))
            leaving = asyncio.ensure_future(_left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:
                sending.cancel()
                leaving.cancel()
                await asyncio.wait({sending, leaving})

    async def _send(self, chunks: AsyncIterator[bytes], send: Send, path: str) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        try:
            async for chunk in chunks:
                async with asyncio.timeout(self._send_timeout):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            # The server closes the connection when an answer is left unfinished.
            log.warning("slow client dropped", path=path)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
