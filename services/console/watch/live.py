"""Live: fan-out of events and states to the clients of the live stream.

Events are kept in one ring buffer, in which each client has a position. So publishing is one append, however
many clients there are; a client that falls behind the ring buffer must reconnect.
"""

import asyncio
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from typing import Any

from pydantic import TypeAdapter
from snsqs.background import wait_for_event


class TooManyViewers(Exception):
    """The limit of clients is reached. Reconnect later."""


@dataclass(frozen=True)
class LiveOptions:
    """Limits of the live stream. The times are seconds."""

    max_entries: int = 2_000
    """Entries of the ring buffer: events that a client may miss and still gets when it reconnects."""
    max_viewers: int = 50
    max_viewers_per_client: int = 10
    """Streams to one network address."""
    min_interval: float = 0.5
    """Between two chunks, each of which has all that is new."""
    send_timeout: float = 10.0
    """For one chunk; a client that is slower is dropped. At most that chunk is in memory for it."""
    heartbeat_interval: float = 15.0
    """A comment is sent after this time without an event; proxies end silent connections."""


@dataclass(frozen=True)
class _Entry:
    """One event of the stream, encoded once, and only while there are clients."""

    id: str | None
    name: str
    data: object

    @cached_property
    def encoded(self) -> bytes:
        identity = f"id: {self.id}\n" if self.id else ""
        return f"{identity}event: {self.name}\ndata: ".encode() + _json(self.data) + b"\n\n"


def _json(data: object) -> bytes:
    kind: Any = type(data)
    return _encoder(kind).dump_json(data, by_alias=True)


@cache
def _encoder(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@dataclass(frozen=True)
class _Position:
    """Position of a client: the number of events and of state changes that it has."""

    number: int
    changes: int = 0


@dataclass(frozen=True)
class _Chunk:
    """Bytes that bring a client from one position to another."""

    begins: _Position
    ends: _Position
    encoded: bytes


class Live:
    """A background loop. Events have ids and are kept; of a state only the last value counts. An id names the
    process, because another one counts from zero."""

    def __init__(self, options: LiveOptions | None = None) -> None:
        self.has_viewers = asyncio.Event()
        """Set while there are clients."""
        self.options = options or LiveOptions()
        self._process = uuid.uuid4().hex[:8]
        self._number = 0
        self._ring: deque[_Entry] = deque(maxlen=self.options.max_entries)
        self._changes = 0
        self._states: dict[tuple[str, str], tuple[int, _Entry]] = {}
        self._viewers = Counter[str]()
        """Streams by client."""
        self._chunk: _Chunk | None = None
        """The last one. Clients are mostly at the same position, and share it."""
        self._due = asyncio.Event()
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()

    def publish(self, name: str, data: object) -> None:
        """Append an event. `data` is a model or a dataclass, and must not change any more."""
        self._number += 1
        self._ring.append(_Entry(f"{self._process}-{self._number}", name, data))
        if self._viewers:
            self._due.set()

    def set_state(self, name: str, key: str, data: object) -> None:
        """Set a state. Clients get it when it differs from the one before."""
        entry = _Entry(None, name, data)
        _, known = self._states.get((name, key), (0, None))
        if known is None or known.encoded != entry.encoded:
            self._changes += 1
            self._states[name, key] = (self._changes, entry)
            self._due.set()

    def stop(self) -> None:
        """End all streams; `run` returns."""
        self._stopping.set()
        self._due.set()
        self._wake()
        self.has_viewers.set()

    async def run(self) -> None:
        """Wake all clients when there is something new, at most every `min_interval`."""
        while not self._stopping.is_set():
            await self._due.wait()
            self._due.clear()
            self._wake()
            await wait_for_event(self._stopping, self.options.min_interval)

    @contextmanager
    def stream(self, last_event_id: str | None, client: str = "") -> Iterator[AsyncIterator[bytes]]:
        """Open a stream, from the event after `last_event_id` on. `client` is a network address. Raises
        TooManyViewers."""
        if self._viewers[client] >= self.options.max_viewers_per_client:
            raise TooManyViewers(
                f"{client} has reached the limit of {self.options.max_viewers_per_client} streams; close one"
            )
        if self._viewers.total() >= self.options.max_viewers:
            raise TooManyViewers(
                f"the limit of {self.options.max_viewers} clients is reached; reconnect later"
            )
        self._viewers[client] += 1
        self.has_viewers.set()
        try:
            yield self._stream(last_event_id)
        finally:
            self._viewers[client] -= 1
            self._viewers += Counter()  # drops clients without a stream
            if not self._viewers and not self._stopping.is_set():
                self.has_viewers.clear()
                self._states.clear()  # they are not kept up to date without clients
                self._chunk = None

    async def _stream(self, last_event_id: str | None) -> AsyncIterator[bytes]:
        position, gap = self._place_after(last_event_id)
        yield b"retry: 2000\n\n" + gap
        while not self._stopping.is_set() and self._is_kept(position):
            news = self._news
            chunk = self._since(position)
            position = chunk.ends
            if chunk.encoded:
                yield chunk.encoded
            if not await self._within_a_heartbeat(news):
                yield b":\n\n"

    def _place_after(self, last_event_id: str | None) -> tuple[_Position, bytes]:
        """Return the position of a client, and a `gap` event if it lost some."""
        now = _Position(self._number)
        if not last_event_id:
            return now, b""
        process, _, number = last_event_id.partition("-")
        if process != self._process or not number.isdecimal() or int(number) > self._number:
            return now, _gap("null")
        position = _Position(max(int(number), self._number - len(self._ring)))
        missed = position.number - int(number)
        return position, _gap(str(missed)) if missed else b""

    def _is_kept(self, position: _Position) -> bool:
        return position.number >= self._number - len(self._ring)

    def _since(self, position: _Position) -> _Chunk:
        """Return all that is new after a position."""
        here = _Position(self._number, self._changes)
        if self._chunk is None or (self._chunk.begins, self._chunk.ends) != (position, here):
            states = [entry for change, entry in self._states.values() if change > position.changes]
            new = islice(self._ring, len(self._ring) - (here.number - position.number), None)
            self._chunk = _Chunk(position, here, b"".join(entry.encoded for entry in (*states, *new)))
        return self._chunk

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _within_a_heartbeat(self, news: asyncio.Event) -> bool:
        try:
            async with asyncio.timeout(self.options.heartbeat_interval):
                await news.wait()
        except TimeoutError:
            return False
        return True


def _gap(missed: str) -> bytes:
    return f'event: gap\ndata: {{"missed":{missed}}}\n\n'.encode()
