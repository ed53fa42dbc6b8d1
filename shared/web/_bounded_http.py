"""HTTP protocol of a service: bounded heads, trailers and connections, and deadlines for the client."""

import asyncio
from http import HTTPStatus
from math import inf
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.web._problem import Problem

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of request line and headers, and of trailers and chunk extensions, not counting the first and the
last read of each."""

MAX_CONNECTIONS = 512
"""Connections of one process. Beyond, a new one replaces the one that has waited longest for its client."""

IDLE_TIMEOUT = 15
"""Seconds between requests. Longer than the 5 s of httpx, so that a client does not reuse a connection while
it is closed."""

HEAD_TIMEOUT = 10.0
"""Seconds from the first byte of a request to the end of its headers."""

BODY_TIMEOUT = 20.0
"""Seconds for the body and its trailers."""

WRITE_TIMEOUT = 20.0
"""Seconds for a client that has stopped reading to continue."""

_LINGER_TIMEOUT = 1.0
"""Seconds for a client that is still sending to read the response; an immediate reset would discard it."""

_CHECK_INTERVAL = 1.0


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with the limits that it lacks, and errors as problem details.

    By itself it accepts a head of any size, appends trailers to the headers (RFC 9110, 6.5.1, forbids it) and
    waits for ever for the first byte, the rest of a request or a client that does not read.
    """

    _is_in_head = False
    _is_in_message = False
    _is_rejected = False
    _is_progressing = False
    _unfinished = 0
    _read_deadline = inf
    _write_deadline = inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._read_deadline = self.loop.time() + IDLE_TIMEOUT
        self.loop.call_later(_CHECK_INTERVAL, self._check_deadlines)
        if len(self.connections) > MAX_CONNECTIONS:
            connections = cast("set[BoundedHttp]", self.connections)
            min(connections, key=lambda each: each.deadline).transport.abort()

    @property
    def deadline(self) -> float:
        """Time by which the client must have sent or read something; infinite while a request is served."""
        return min(self._read_deadline, self._write_deadline)

    def data_received(self, data: bytes) -> None:
        if self._is_rejected:
            return
        self._is_progressing = False
        super().data_received(data)
        self._unfinished = 0 if self._is_progressing else self._unfinished + len(data)
        if self._unfinished > MAX_HEAD_BYTES and not self._is_rejected:
            part = "Request line and headers" if self._is_in_head else "Trailers or chunk extensions"
            self._reject(Problem(431, f"{part} exceed {MAX_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_message = self._is_in_head = self._is_progressing = True
        self._read_deadline = self.loop.time() + HEAD_TIMEOUT

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # afterwards it is a trailer, for which there is no use
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._read_deadline = self.loop.time() + BODY_TIMEOUT
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._is_progressing = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_message, self._is_progressing = False, True
        self._read_deadline = self.loop.time() + IDLE_TIMEOUT if self.cycle.response_complete else inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_in_message:
            self._read_deadline = inf if self.pipeline else self.loop.time() + IDLE_TIMEOUT
        elif not self._is_in_head and self.cycle.response_complete:  # answered without reading the whole body
            self._read_deadline = min(self._read_deadline, self.loop.time() + _LINGER_TIMEOUT)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_deadline = self.loop.time() + WRITE_TIMEOUT

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_deadline = inf

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def send_400_response(self, msg: str) -> None:
        self._reject(Problem(400, msg))

    def _check_deadlines(self) -> None:
        if self.parser is None:  # the connection is lost
            return
        now = self.loop.time()
        if self.transport.is_closing():
            self._write_deadline = min(self._write_deadline, now + WRITE_TIMEOUT)
        if now > self._write_deadline:
            self.transport.abort()
        elif now > self._read_deadline and not self.flow.read_paused:  # paused, it is the client that waits
            self._expire()
        self.loop.call_later(_CHECK_INTERVAL, self._check_deadlines)

    def _expire(self) -> None:
        if self._is_in_head or (self._is_in_message and not self.cycle.response_started):
            self._reject(Problem(408, "Request not received in time"))
        else:
            self._close()

    def _reject(self, problem: Problem) -> None:
        if self._is_in_message and not self._is_in_head:
            self._end_request()
        self._is_rejected, self._is_in_head, self._read_deadline = True, False, inf
        response = problem.response()
        status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"
        headers = [f"{name}: {value}" for name, value in response.headers.items()]
        head = "\r\n".join([status, *headers, "connection: close", "", ""])
        self.transport.write(head.encode("latin-1") + bytes(response.body))
        self.loop.call_later(_LINGER_TIMEOUT, self._close)

    def _end_request(self) -> None:
        """Report the client as disconnected to an application that still waits for the body."""
        if not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _close(self) -> None:
        """Close after the client has read the rest of the response, or has had the time to."""
        self.transport.close()
        self.loop.call_later(_LINGER_TIMEOUT, self.transport.abort)
