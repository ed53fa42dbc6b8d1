"""Browse sessions: read a queue without consuming it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog
from snsqs import Lease
from snsqs.aws import transient_errors
from snsqs.queues import MAX_BATCH_SIZE, LeaseKeeper, Received, SqsQueue

log = structlog.get_logger(__name__)

MAX_HELD = 10_000
"""Messages that a session holds at once; AWS allows 120,000 in flight, and 20,000 of a FIFO queue."""

_VISIBILITY = 30
"""Seconds after which the messages are visible again by themselves when this process dies."""

_WAIT = 1
"""Seconds that the last call waits. With a wait AWS asks all its servers; without, only some of them."""


class BrowseSession:
    """Returns each message of a queue once.

    The session holds what it has received, and extends its leases, because SQS would return the same messages
    again. At its end all of them become visible at once, in their old order where the queue has one; only
    their receive counts have grown, which has no effect on a dead-letter queue without a redrive policy.

    SQS returns nothing more of a FIFO queue's group while some of it is in flight: a session sees the first
    ten messages of each group.
    """

    def __init__(self, queue: SqsQueue) -> None:
        self.incomplete: str | None = None
        """Why it has not seen everything, or None."""
        self._queue = queue
        self.leases = LeaseKeeper(queue, _VISIBILITY)
        self._held: dict[str, Lease] = {}

    async def batches(self) -> AsyncIterator[list[Received]]:
        """Yield up to ten messages at a time until the queue has no more. Raises errors of the SDK."""
        while received := await self._queue.receive(limit=MAX_BATCH_SIZE, wait=_WAIT, visibility=_VISIBILITY):
            new = [each for each in received if each.message_id not in self._held]
            for each in received:
                self._hold(each)
            if new:
                yield new
            if len(self._held) > MAX_HELD - MAX_BATCH_SIZE:
                self.incomplete = f"only the first {len(self._held)} messages were scanned"
                return

    def holds(self, message: Received) -> bool:
        """Return True while its lease is valid; after that SQS may have returned it to another receiver."""
        return not self._held[message.message_id].is_lost

    async def delete(self, messages: Sequence[Received]) -> frozenset[str]:
        """Delete up to ten messages, and return the ids of those that could not be deleted."""
        leases = {self._held[each.message_id].received.receipt_handle: each for each in messages}
        try:
            failed = (await self._queue.delete(list(leases))).failed
        except transient_errors() as error:
            log.warning("dead letters not deleted", queue=self._queue.name, error=str(error))
            failed = frozenset(leases)
        for handle, each in leases.items():
            if handle not in failed:
                self.leases.release(self._held.pop(each.message_id))
        return frozenset(leases[handle].message_id for handle in failed)

    def _hold(self, received: Received) -> None:
        """Keep the lease only; body and attributes of a held message are not needed."""
        if known := self._held.get(received.message_id):
            self.leases.release(known)
        self._held[received.message_id] = self.leases.track(replace(received, body="", raw_attributes={}))


@asynccontextmanager
async def browse_session(queue: SqsQueue) -> AsyncIterator[BrowseSession]:
    """Open a session; at its end, and after an error, everything that it holds becomes visible again."""
    session = BrowseSession(queue)
    async with session.leases.extending():
        yield session
