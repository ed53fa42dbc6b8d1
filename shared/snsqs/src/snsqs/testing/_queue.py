"""MemoryQueue: a queue of SQS in memory, standard or FIFO."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from snsqs._queue import BatchOutcome, RawAttributes, Received, is_fifo
from snsqs.testing._faults import Faults

DEDUPLICATION_SECONDS = 5 * 60


@dataclass(eq=False)
class Stored:
    """A message in a queue."""

    message_id: str
    body: str
    attributes: RawAttributes
    group: str | None
    visible_at: float
    receive_count: int = 0
    handle: str = ""
    """The receipt handle that was given out last; the older ones are void."""
    is_deleted: bool = False


@dataclass
class Redrive:
    """After so many receives a message moves to the dead-letter queue instead of being given out."""

    dead_letters: "MemoryQueue"
    max_receive_count: int


@dataclass(eq=False)
class MemoryQueue:
    """The messages of one queue, as they are; and the calls of SQS on it, which faults may strike."""

    name: str
    faults: Faults
    redrive: Redrive | None = None
    messages: list[Stored] = field(default_factory=list)
    _handles: Iterator[int] = field(default_factory=itertools.count)
    _sent: dict[str, float] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_empty(self) -> bool:
        """Nothing waits, is delayed, or is leased."""
        return not self.messages

    @property
    def has_visible(self) -> bool:
        """Whether a receive call would bring something now."""
        return any(self._receivable())

    def put(
        self, message_id: str, body: str, attributes: RawAttributes, group: str | None, dedup: str
    ) -> None:
        """Stores a message, twice when a fault wants it so, and not at all when it is a FIFO duplicate."""
        if is_fifo(self.name):
            if not self._is_new(dedup):
                return
            self._store(message_id, body, attributes, group, place=len(self.messages), delay=0)
            return
        for _ in range(2 if self.faults.strikes(self.faults.duplicate) else 1):
            place = self.faults.place(len(self.messages))
            self._store(message_id, body, attributes, None, place=place, delay=self.faults.seconds())

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        self._may_fail()
        deadline = _now() + wait
        while not (received := self._give_out(limit, visibility)):
            if _is_past(deadline):
                return []
            remaining = min(deadline, self._next_visible()) - _now()
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, remaining)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return received

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        self._may_fail()
        failed = frozenset(h for h in handles if self.faults.strikes(self.faults.drop_entry))
        for stored in self._by_handles(set(handles) - failed):
            if not self.faults.strikes(self.faults.lose_acknowledgement):
                stored.is_deleted = True
        self.messages = [stored for stored in self.messages if not stored.is_deleted]
        self._changed.set()
        return BatchOutcome(failed=failed)

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        self._may_fail()
        failed = frozenset(h for h in seconds if self.faults.strikes(self.faults.drop_entry))
        found = {stored.handle: stored for stored in self._by_handles(set(seconds) - failed)}
        in_flight = {handle: stored for handle, stored in found.items() if not _is_past(stored.visible_at)}
        for handle, stored in in_flight.items():
            stored.visible_at = _now() + seconds[handle]
        self._changed.set()
        return BatchOutcome(gone=frozenset(set(seconds) - failed - set(in_flight)), failed=failed)

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        self._may_fail()
        message_id = f"{self.name}-{next(self._handles)}"
        self.put(message_id, body, attributes, group, deduplication)
        return message_id

    def _is_new(self, dedup: str) -> bool:
        sent_at = self._sent.get(dedup)
        self._sent[dedup] = _now()
        return sent_at is None or sent_at + DEDUPLICATION_SECONDS < _now()

    def _store(
        self,
        message_id: str,
        body: str,
        attributes: RawAttributes,
        group: str | None,
        *,
        place: int,
        delay: float,
    ) -> None:
        self.messages.insert(place, Stored(message_id, body, attributes, group, _now() + delay))
        self._changed.set()

    def _give_out(self, limit: int, visibility: int) -> list[Received]:
        self._redrive()
        given = []
        for stored in list(self._receivable())[:limit]:
            stored.receive_count += 1
            stored.visible_at = _now() + visibility
            stored.handle = f"{stored.message_id}/{next(self._handles)}"
            given.append(_received(stored))
        return given

    def _receivable(self) -> Iterator[Stored]:
        """What is visible; of a FIFO group only what no earlier message of it is still leased before."""
        held_groups: set[str] = set()
        for stored in self.messages:
            if stored.group in held_groups:
                continue
            if _is_past(stored.visible_at):
                yield stored
            elif stored.group is not None:
                held_groups.add(stored.group)

    def _redrive(self) -> None:
        if self.redrive is None:
            return
        for stored in list(self._receivable()):
            if stored.receive_count >= self.redrive.max_receive_count:
                self.messages.remove(stored)
                self.redrive.dead_letters.put(
                    stored.message_id, stored.body, stored.attributes, stored.group, stored.message_id
                )

    def _next_visible(self) -> float:
        later = [stored.visible_at for stored in self.messages if not _is_past(stored.visible_at)]
        return min(later, default=float("inf"))

    def _by_handles(self, handles: set[str]) -> list[Stored]:
        return [stored for stored in self.messages if stored.handle in handles]

    def _may_fail(self) -> None:
        if self.faults.strikes(self.faults.fail_call):
            raise ConnectionRefusedError(f"{self.name}: refused by a fault")


def _received(stored: Stored) -> Received:
    return Received(
        message_id=stored.message_id,
        receipt_handle=stored.handle,
        body=stored.body,
        raw_attributes=stored.attributes,
        receive_count=stored.receive_count,
        leased_at=_now(),
        group=stored.group,
    )


def _is_past(moment: float) -> bool:
    """To the nanosecond, as the event loop takes it: a timer that is closer fires without time passing, and
    who then still waited for the rest would wait for ever."""
    return moment <= _now() + 1e-9


def _now() -> float:
    return asyncio.get_running_loop().time()
