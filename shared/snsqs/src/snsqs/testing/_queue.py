"""MemoryQueue: an SQS queue in memory, standard or FIFO."""

import asyncio
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from snsqs._errors import MAX_VISIBILITY
from snsqs._queue import MAX_BATCH_SIZE, BatchOutcome, RawAttributes, Received, is_fifo
from snsqs._validation import validate_id
from snsqs.testing._faults import Faults

DEDUPLICATION_SECONDS = 5 * 60
_MAX_WAIT = 20


@dataclass(eq=False)
class StoredMessage:
    """A message in a queue. Times are those of the event loop."""

    message_id: str
    body: str
    attributes: RawAttributes
    group: str | None
    visible_at: float
    leased_at: float = 0.0
    receive_count: int = 0
    handle: str = ""
    """The latest receipt handle; older ones are void."""
    is_deleted: bool = False
    trace_header: str | None = None
    sent_at: float = field(default_factory=lambda: _now())


@dataclass
class RedrivePolicy:
    """A message that was received `max_receive_count` times moves to `dead_letters` at the next receive."""

    dead_letters: "MemoryQueue"
    max_receive_count: int


@dataclass(eq=False)
class MemoryQueue:
    """A queue: its messages, and the calls of SQS, which may fail by `faults`.

    Calls raise ValueError for numbers that SQS rejects, and InvalidMessage for group and deduplication ids.
    """

    name: str
    faults: Faults
    redrive: RedrivePolicy | None = None
    retention: float = math.inf
    """Seconds after which a message is deleted."""
    messages: list[StoredMessage] = field(default_factory=list)
    _handles: Iterator[int] = field(init=False, default_factory=itertools.count)
    _sent: dict[str, float] = field(init=False, default_factory=dict)
    _changed: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    @property
    def is_empty(self) -> bool:
        """True when it has no message: neither visible nor delayed nor leased."""
        return not self.messages

    @property
    def has_visible(self) -> bool:
        """True when a receive call would return a message now."""
        return any(self._receivable())

    def put(
        self,
        message_id: str,
        body: str,
        attributes: RawAttributes,
        group: str | None,
        dedup: str,
        delay: int = 0,
        trace_header: str | None = None,
    ) -> None:
        """Store a message, twice for the fault `duplicate`; ignore the duplicate of a FIFO message."""
        if is_fifo(self.name):
            if not self._is_new(dedup):
                return
            position = len(self.messages)
            self._store(message_id, body, attributes, group, trace_header, position=position, delay=0)
            return
        for _ in range(2 if self.faults.occurs(self.faults.duplicate) else 1):
            position = self.faults.draw_position(len(self.messages))
            late = delay + self.faults.draw_delay()
            self._store(message_id, body, attributes, group, trace_header, position=position, delay=late)

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        _require("number of messages", limit, 1, MAX_BATCH_SIZE)
        _require("wait time", wait, 0, _MAX_WAIT)
        _require("visibility timeout", visibility, 0, MAX_VISIBILITY)
        self._fail_by_chance()
        deadline = _now() + wait
        while not (received := self._lease(limit, visibility)):
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
        _require("number of entries", len(handles), 1, MAX_BATCH_SIZE)
        self._fail_by_chance()
        failed = frozenset(h for h in handles if self.faults.occurs(self.faults.drop_entry))
        for stored in self._by_handles(set(handles) - failed):
            if not self.faults.occurs(self.faults.lose_acknowledgement):
                stored.is_deleted = True
        self.messages = [stored for stored in self.messages if not stored.is_deleted]
        self._changed.set()
        return BatchOutcome(failed=failed)

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        _require("number of entries", len(seconds), 1, MAX_BATCH_SIZE)
        for value in seconds.values():
            _require("visibility timeout", value, 0, MAX_VISIBILITY)
        self._fail_by_chance()
        failed = frozenset(h for h in seconds if self.faults.occurs(self.faults.drop_entry))
        found = {stored.handle: stored for stored in self._by_handles(set(seconds) - failed)}
        in_flight = {handle: stored for handle, stored in found.items() if not _is_past(stored.visible_at)}
        for handle, stored in in_flight.items():
            if _now() + seconds[handle] > stored.leased_at + MAX_VISIBILITY:
                failed |= {handle}
            else:
                stored.visible_at = _now() + seconds[handle]
        self._changed.set()
        return BatchOutcome(gone=frozenset(set(seconds) - failed - set(in_flight)), failed=failed)

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        if is_fifo(self.name):
            group = group or "none"  # as SqsQueue
            validate_id("deduplication id", deduplication)
        if group is not None:
            validate_id("group id", group)
        self._fail_by_chance()
        message_id = self.next_id()
        self.put(message_id, body, attributes, group, deduplication)
        return message_id

    def next_id(self) -> str:
        """Return the id of a new message."""
        return f"{self.name}-{next(self._handles)}"

    def _is_new(self, dedup: str) -> bool:
        """Return False for a duplicate, which does not extend the time of the first message."""
        sent_at = self._sent.get(dedup)
        if sent_at is not None and _now() <= sent_at + DEDUPLICATION_SECONDS:
            return False
        self._sent[dedup] = _now()
        return True

    def _store(
        self,
        message_id: str,
        body: str,
        attributes: RawAttributes,
        group: str | None,
        trace_header: str | None,
        *,
        position: int,
        delay: float,
    ) -> None:
        visible_at = _now() + delay
        stored = StoredMessage(
            message_id, body, attributes, group, visible_at, sent_at=_now(), trace_header=trace_header
        )
        self.messages.insert(position, stored)
        self._changed.set()

    def _lease(self, limit: int, visibility: int) -> list[Received]:
        self._expire()
        self._redrive()
        leased = []
        for stored in list(self._receivable())[:limit]:
            stored.receive_count += 1
            stored.leased_at = _now()
            stored.visible_at = _now() + visibility
            stored.handle = f"{stored.message_id}/{next(self._handles)}"
            leased.append(_received(stored))
        return leased

    def _receivable(self) -> Iterator[StoredMessage]:
        """Visible messages; of a FIFO group none after a message that is leased."""
        blocked_groups: set[str] = set()
        for stored in self.messages:
            if stored.group in blocked_groups:
                continue
            if _is_past(stored.visible_at):
                yield stored
            elif stored.group is not None and is_fifo(self.name):
                blocked_groups.add(stored.group)

    def _expire(self) -> None:
        oldest = _now() - self.retention
        if any(stored.sent_at < oldest for stored in self.messages):
            self.messages = [stored for stored in self.messages if stored.sent_at >= oldest]

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

    def _by_handles(self, handles: set[str]) -> list[StoredMessage]:
        return [stored for stored in self.messages if stored.handle in handles]

    def _fail_by_chance(self) -> None:
        if self.faults.occurs(self.faults.fail_call):
            raise ConnectionRefusedError(f"{self.name}: refused by a fault")


def _received(stored: StoredMessage) -> Received:
    return Received(
        message_id=stored.message_id,
        receipt_handle=stored.handle,
        body=stored.body,
        raw_attributes=stored.attributes,
        receive_count=stored.receive_count,
        leased_at=_now(),
        group=stored.group,
        trace_header=stored.trace_header,
        sent_at=datetime.now(UTC) - timedelta(seconds=_now() - stored.sent_at),
    )


def _is_past(moment: float) -> bool:
    """Compare with the event loop's resolution: a timer within it fires without virtual time passing, so
    waiting for the rest would never end."""
    return moment <= _now() + 1e-9


def _now() -> float:
    return asyncio.get_running_loop().time()


def _require(what: str, value: int, minimum: int, maximum: int) -> None:
    if not minimum <= value <= maximum:
        raise ValueError(f"the {what} is {value}; SQS accepts {minimum} to {maximum}")
