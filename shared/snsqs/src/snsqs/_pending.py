"""Received messages that wait for a worker, and the order in which workers take them."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from snsqs._binding import Binding
from snsqs._converter import untyped_reason, validate_headers
from snsqs._envelopes import envelope_hint
from snsqs._errors import (
    HandlerFailed,
    MessagingError,
    UndecodableMessage,
    UnknownType,
    error_reason,
)
from snsqs._handler import HandlerMethod
from snsqs._lease import Lease
from snsqs._message import Message
from snsqs._options import ListenerOptions, Policy
from snsqs._queue import MAX_BATCH_SIZE, Received
from snsqs._trace_header import traceparent_of
from snsqs.headers import ID, TRACEPARENT, TYPE


@dataclass(frozen=True, eq=False)
class Incoming:
    """A received message with its lease, and its handler or the error that excludes one."""

    lease: Lease
    message: Message[str]
    handler: HandlerMethod | None
    error: MessagingError | None = None
    policy: Policy = "dead-letter"
    """Treatment of a message that has no handler."""
    is_single: bool = False
    """A message of a failed batch, which is handled again without the others."""

    @property
    def received(self) -> Received:
        return self.lease.received

    @property
    def is_returnable(self) -> bool:
        """True if it was received for the first time, and not handled yet."""
        return self.received.receive_count == 1 and not self.is_single

    @property
    def max_batch_size(self) -> int:
        """Maximum number of messages per call of the handler."""
        takes_batches = self.handler is not None and self.handler.takes_batches and not self.is_single
        return MAX_BATCH_SIZE if takes_batches else 1


def decode(lease: Lease, binding: Binding, options: ListenerOptions) -> Incoming:
    """Return the received message with its handler, or with the error why it has none."""
    try:
        return _decoded(lease, binding, options)
    except BaseException as error:  # of a converter, such as a panic; retried, because it may not recur
        return _rejected(lease, HandlerFailed(error_reason(error)), policy="fail")


def _decoded(lease: Lease, binding: Binding, options: ListenerOptions) -> Incoming:
    received = lease.received
    try:
        message = binding.converter.to_message(received.body, received.attributes)
        validate_headers(message)
    except MessagingError as error:
        return _rejected(lease, error)
    except Exception as error:
        return _rejected(lease, UndecodableMessage(error_reason(error)))
    if received.trace_header is not None and TRACEPARENT not in message.headers:
        message = _in_trace(message, received.trace_header)
    if not message.id:
        message = message.copy(headers={ID: received.message_id})
    if not message.type:
        if options.default_type is None:
            reason = UndecodableMessage(untyped_reason(received.body, message))
            return Incoming(lease, message, None, reason, policy=options.untyped)
        message = message.copy(headers={TYPE: options.default_type})
    try:
        handler = binding.handler_for(message)
    except UnknownType as error:
        return Incoming(lease, message, None, error, policy=options.unknown_types)
    return Incoming(lease, handler.with_identity(message), handler)


def settled_before(lease: Lease) -> Incoming:
    """Return a received message that was settled, but could not be deleted then."""
    received = lease.received
    error = MessagingError("settled before, and not deleted then")
    return Incoming(lease, Message(received.body, received.attributes), None, error, policy="ignore")


def _rejected(lease: Lease, error: MessagingError, policy: Policy = "dead-letter") -> Incoming:
    received = lease.received
    if isinstance(error, UndecodableMessage):
        error = UndecodableMessage(f"{error}{envelope_hint(received.body, received.attributes)}")
    return Incoming(lease, Message(received.body, received.attributes), None, error, policy)


def _in_trace(message: Message[str], trace_header: str) -> Message[str]:
    traceparent = traceparent_of(trace_header)
    return message.copy(headers={TRACEPARENT: traceparent}) if traceparent else message


def leases_of(batch: Sequence[Incoming]) -> list[Lease]:
    """Return the leases of messages."""
    return [incoming.lease for incoming in batch]


class PendingMessages:
    """Messages that wait for a worker, grouped by ordering key.

    Any number of workers take messages of a standard queue at the same time. The messages of a FIFO group
    are taken by one worker at a time, in order, while other workers take those of other groups.
    """

    def __init__(self, *, is_fifo: bool) -> None:
        self._is_fifo = is_fifo
        self._is_closed = False
        self._count = 0
        self._groups: defaultdict[Hashable, deque[Incoming]] = defaultdict(deque)
        self._ready: asyncio.Queue[Hashable | None] = asyncio.Queue()
        self._reserved: set[Hashable] = set()
        """FIFO groups that are ready or taken by a worker; their next message has to wait."""

    def __len__(self) -> int:
        return self._count

    def add(self, incoming: Incoming) -> None:
        """Append a message to its group."""
        key = self._ordering_key(incoming)
        self._groups[key].append(incoming)
        self._count += 1
        if key not in self._reserved:
            self._ready.put_nowait(key)
        if self._is_fifo:
            self._reserved.add(key)

    async def pop_group(self) -> list[Incoming] | None:
        """Wait for the next messages of one group and take them out: up to ten for one batch handler, else
        one. Return None once closed."""
        while True:
            key = await self._ready.get()
            if self._is_closed:
                return None
            if messages := self._pop(key):
                return messages

    def release(self, settled: Incoming) -> None:
        """Let workers take the next messages of a FIFO group: the last ones are settled."""
        if not self._is_fifo:
            return
        key = self._ordering_key(settled)
        if self._groups.get(key):
            self._ready.put_nowait(key)
        else:
            self._reserved.discard(key)

    def split(self, batch: Sequence[Incoming]) -> None:
        """Put the messages of a failed batch back, to be taken one by one, in a FIFO group first."""
        singles = [replace(incoming, is_single=True) for incoming in batch]
        if self._is_fifo:
            self._groups[self._ordering_key(batch[0])].extendleft(reversed(singles))
            self._count += len(singles)
        else:
            for incoming in singles:
                self.add(incoming)

    def drain_group(self, failed: Incoming) -> list[Incoming]:
        """Take out the rest of a FIFO group, which must not overtake a message that failed. Messages of a
        standard queue are independent, and stay."""
        return self._clear(self._ordering_key(failed)) if self._is_fifo else []

    def take_waiting(self, received_before: float) -> list[Incoming]:
        """Take out the messages of a standard queue that were received for the first time before a time of
        the event loop."""
        if self._is_fifo:
            return []
        waiting: list[Incoming] = []
        for key, group in list(self._groups.items()):
            taken = [
                each for each in group if each.is_returnable and each.received.leased_at < received_before
            ]
            waiting += taken
            if remaining := [each for each in group if each not in taken]:
                self._groups[key] = deque(remaining)
            else:
                del self._groups[key]
        self._count -= len(waiting)
        return waiting

    def drain(self) -> list[Incoming]:
        """Take out all messages."""
        return [incoming for key in list(self._groups) for incoming in self._clear(key)]

    def close(self, workers: int) -> None:
        """Make `pop_group` return None, for as many workers as there are."""
        self._is_closed = True
        for _ in range(workers):
            self._ready.put_nowait(None)

    def _ordering_key(self, incoming: Incoming) -> Hashable:
        """Messages with the same key are taken in order: a FIFO group, or the messages of a batch handler.
        Any other message has a key of its own. The group of a standard queue (fair queues) orders nothing."""
        if self._is_fifo and incoming.received.group is not None:
            return incoming.received.group
        return incoming.handler if incoming.max_batch_size > 1 else incoming

    def _clear(self, key: Hashable) -> list[Incoming]:
        cleared = list(self._groups.pop(key, ()))
        self._count -= len(cleared)
        return cleared

    def _pop(self, key: Hashable) -> list[Incoming]:
        group = self._groups.get(key)
        if not group:
            return []
        first = group.popleft()
        popped = [first]
        while group and len(popped) < first.max_batch_size and group[0].handler is first.handler:
            popped.append(group.popleft())
        if not group:
            del self._groups[key]
        self._count -= len(popped)
        return popped
