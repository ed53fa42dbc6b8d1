"""HTTP protocol with a size limit for request heads and problem details for malformed requests."""

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.web._problem import Problem

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of request line and headers, not counting the first and the last read of a head."""

_LINGER_TIMEOUT = 1.0
"""Seconds for a client that is still sending to read the response; an immediate reset would discard it."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, which by itself accepts a head of any size and answers errors in plain text."""

    _head = 0
    _is_in_head = False
    _is_rejected = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._is_rejected:
            return
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES:
                self._reject(Problem(431, f"Request line and headers exceed {MAX_HEAD_BYTES} bytes"))

    def send_400_response(self, msg: str) -> None:
        self._reject(Problem(400, msg))

    def _reject(self, problem: Problem) -> None:
        self._is_rejected, self._is_in_head = True, False
        response = problem.response()
        status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"
        headers = [f"{name}: {value}" for name, value in response.headers.items()]
        head = "\r\n".join([status, *headers, "connection: close", "", ""])
        self.transport.write(head.encode("latin-1") + bytes(response.body))
        asyncio.get_running_loop().call_later(_LINGER_TIMEOUT, self.transport.close)
