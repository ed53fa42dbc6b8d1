"""BoundedHttp: no head of a request is read beyond a limit, and what is not HTTP is refused as a problem."""

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.web.problem import Problem

HEAD_MOST = 64 * 1024
"""Bytes of the request line and the headers, not counting the first and the last read of a head."""

_LINGER = 1.0
"""Seconds in which a client that still sends can read why it is refused; a reset would take it away."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's own takes a head of any size, and answers in plain text."""

    _head = 0
    _is_in_head = False
    _is_refused = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        began = self._is_in_head
        super().data_received(data)
        if began and self._is_in_head:
            self._head += len(data)
            if self._head > HEAD_MOST:
                self._refuse(Problem(431, f"request line and headers are over {HEAD_MOST} bytes"))

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(400, msg))

    def _refuse(self, problem: Problem) -> None:
        self._is_refused, self._is_in_head = True, False
        response = problem.response()
        status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"
        headers = [f"{name}: {value}" for name, value in response.headers.items()]
        head = "\r\n".join([status, *headers, "connection: close", "", ""])
        self.transport.write(head.encode("latin-1") + bytes(response.body))
        asyncio.get_running_loop().call_later(_LINGER, self.transport.close)
