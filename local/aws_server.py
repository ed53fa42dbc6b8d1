"""Local SNS/SQS server: ministack, which accepts any request, behind a guard against those of browsers.

An ASGI application for hypercorn in `.venv-aws`, with ministack's environment variables and `ALLOWED_HOSTS`,
host names separated by commas.
"""

import functools
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.app import app as ministack

from shared.runtime.browser_requests import LOOPBACK_HOSTS, rejection


async def app(
    scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Pass on requests except those that a page in a browser can make the server receive. No page has a
    reason to call it, and its GET requests change queues."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    rejected = None
    if scope["type"] == "http":
        rejected = rejection(
            scope["method"], scope["headers"], allowed_hosts=_allowed_hosts(), is_linkable=False
        )
    if rejected is None:
        await ministack(scope, receive, send)
        return
    status, message = rejected
    body = json.dumps({"message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@functools.cache
def _allowed_hosts() -> frozenset[str]:
    names = os.environ.get("ALLOWED_HOSTS") or ",".join(LOOPBACK_HOSTS)
    return frozenset(name.strip().lower() for name in names.split(","))
