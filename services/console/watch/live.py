"""Live: what happens in the system, told to those who watch.

What is told is remembered in a ring, and each viewer has its place in it. So telling is one append however
many watch; whoever is slower than the ring is long has lost its place, and has to come again.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from typing import Any

from pydantic import TypeAdapter
from snsqs.background import wait_for_event


class TooManyViewers(Exception):
    """As many watch as may. Come again when somebody has left."""


@dataclass(frozen=True)
class LiveOptions:
    """The times are seconds."""

    remembered: int = 2_000
    """Entries of the ring: what a viewer that lost its connection may have missed and still gets."""
    viewers: int = 50
    pace: float = 0.5
    """Viewers are woken this often at most, and then get all that is new in one piece."""
    patience: float = 10.0
    """What a viewer may take for one piece before it is dropped; at most that piece is in memory for it."""
    heartbeat: float = 15.0
    """A comment is sent after so long without anything else; proxies end connections that are silent."""


@dataclass(frozen=True)
class _Entry:
    """One event of the stream. It is encoded once, and only when somebody watches."""

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
class _Place:
    """How far a viewer is."""

    number: int
    changes: int = 0


@dataclass(frozen=True)
class _Piece:
    """What a viewer is given who comes from one place to another."""

    begins: _Place
    ends: _Place
    encoded: bytes


class Live:
    """A Loop. Events that happen are told, and have ids; states that change are shown, and only the last
    one of each counts. An id names this process as well, because another one counts for itself."""

    def __init__(self, options: LiveOptions | None = None) -> None:
        self.watched = asyncio.Event()
        """Set while somebody watches."""
        self.options = options or LiveOptions()
        self._process = uuid.uuid4().hex[:8]
        self._number = 0
        self._ring: deque[_Entry] = deque(maxlen=self.options.remembered)
        self._changes = 0
        self._states: dict[tuple[str, str], tuple[int, _Entry]] = {}
        self._viewers = 0
        self._piece: _Piece | None = None
        """The last one. Viewers are mostly at the same place, and share it."""
        self._due = asyncio.Event()
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()

    def tell(self, name: str, data: object) -> None:
        """Something happened. `data` is a model or a dataclass, and is not changed any more."""
        self._number += 1
        self._ring.append(_Entry(f"{self._process}-{self._number}", name, data))
        if self._viewers:
            self._due.set()

    def show(self, name: str, key: str, data: object) -> None:
        """Something is in this state now. Viewers are told when that is another one than before."""
        entry = _Entry(None, name, data)
        _, known = self._states.get((name, key), (0, None))
        if known is None or known.encoded != entry.encoded:
            self._changes += 1
            self._states[name, key] = (self._changes, entry)
            self._due.set()

    def stop(self) -> None:
        """The streams end; `run` returns."""
        self._stopping.set()
        self._due.set()
        self._wake()
        self.watched.set()

    async def run(self) -> None:
        """Wakes the viewers when there is something new, all at once and not too often."""
        while not self._stopping.is_set():
            await self._due.wait()
            self._due.clear()
            self._wake()
            await wait_for_event(self._stopping, self.options.pace)

    @contextmanager
    def viewing(self, last_event_id: str | None) -> Iterator[AsyncIterator[bytes]]:
        """The stream for one more viewer, who may have seen some of it. Raises TooManyViewers."""
        if self._viewers >= self.options.viewers:
            raise TooManyViewers(f"{self._viewers} watch already; come again later")
        self._viewers += 1
        self.watched.set()
        try:
            yield self._stream(last_event_id)
        finally:
            self._viewers -= 1
            if not self._viewers and not self._stopping.is_set():
                self.watched.clear()
                self._states.clear()  # nobody keeps them up to date now
                self._piece = None

    async def _stream(self, last_event_id: str | None) -> AsyncIterator[bytes]:
        place, gap = self._place_after(last_event_id)
        yield b"retry: 2000\n\n" + gap
        while not self._stopping.is_set() and self._is_remembered(place):
            news = self._news
            piece = self._since(place)
            place = piece.ends
            if piece.encoded:
                yield piece.encoded
            if not await self._within_a_heartbeat(news):
                yield b":\n\n"

    def _place_after(self, last_event_id: str | None) -> tuple[_Place, bytes]:
        """Where a viewer goes on, and what it is told about what is lost."""
        now = _Place(self._number)
        if not last_event_id:
            return now, b""
        process, _, number = last_event_id.partition("-")
        if process != self._process or not number.isdecimal() or int(number) > self._number:
            return now, _gap("null")
        place = _Place(max(int(number), self._number - len(self._ring)))
        missed = place.number - int(number)
        return place, _gap(str(missed)) if missed else b""

    def _is_remembered(self, place: _Place) -> bool:
        return place.number >= self._number - len(self._ring)

    def _since(self, place: _Place) -> _Piece:
        """What the viewer has not seen yet."""
        here = _Place(self._number, self._changes)
        if self._piece is None or (self._piece.begins, self._piece.ends) != (place, here):
            states = [entry for change, entry in self._states.values() if change > place.changes]
            new = islice(self._ring, len(self._ring) - (here.number - place.number), None)
            self._piece = _Piece(place, here, b"".join(entry.encoded for entry in (*states, *new)))
        return self._piece

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _within_a_heartbeat(self, news: asyncio.Event) -> bool:
        try:
            async with asyncio.timeout(self.options.heartbeat):
                await news.wait()
        except TimeoutError:
            return False
        return True


def _gap(missed: str) -> bytes:
    return f'event: gap\ndata: {{"missed":{missed}}}\n\n'.encode()
