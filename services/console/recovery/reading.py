"""Reading: goes through a queue without consuming it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog
from snsqs import Lease
from snsqs.aws import transient_errors
from snsqs.queues import MAX_BATCH_SIZE, LeaseKeeper, Received, SqsQueue

log = structlog.get_logger(__name__)

HELD_MOST = 10_000
"""Messages that a reading holds at once; AWS takes 120,000 of a queue, and 20,000 of a FIFO queue."""

_VISIBILITY = 30
"""Seconds after which the messages are back in the queue by themselves when this process dies."""

_WAIT = 1
"""Seconds that the last call waits. With a wait AWS asks all its servers; without, only some of them."""


class Reading:
    """Gives out each message of a queue once.

    What it has received it holds, and extends the lease of, until its end, because SQS would give out the
    same messages again. Then all of them go back at once, in their old order where the queue has one; only
    their receive counts have grown, which on a queue for dead letters nobody acts on.

    Of a FIFO queue's group SQS gives out nothing more while some of it is held: a reading sees the first
    ten of each group.
    """

    def __init__(self, queue: SqsQueue) -> None:
        self.incomplete: str | None = None
        """Why it has not seen everything, or None."""
        self._queue = queue
        self.leases = LeaseKeeper(queue, _VISIBILITY)
        self._held: dict[str, Lease] = {}

    async def batches(self) -> AsyncIterator[list[Received]]:
        """Ten at most, until there is nothing more. Raises what the SDK raises."""
        while received := await self._queue.receive(limit=MAX_BATCH_SIZE, wait=_WAIT, visibility=_VISIBILITY):
            new = [each for each in received if each.message_id not in self._held]
            for each in received:
                self._hold(each)
            if new:
                yield new
            if len(self._held) > HELD_MOST - MAX_BATCH_SIZE:
                self.incomplete = f"only the first {len(self._held)} messages were looked at"
                return

    def holds(self, message: Received) -> bool:
        """Whether it is still ours; else somebody else may have it, or SQS may give it out again."""
        return not self._held[message.message_id].is_lost

    async def delete(self, messages: Sequence[Received]) -> frozenset[str]:
        """Deletes up to ten, and returns the ids of those that it could not delete."""
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
        """Without body and attributes, which nobody needs of what is only held."""
        if known := self._held.get(received.message_id):
            self.leases.release(known)
        self._held[received.message_id] = self.leases.track(replace(received, body="", raw_attributes={}))


@asynccontextmanager
async def reading(queue: SqsQueue) -> AsyncIterator[Reading]:
    """A reading of the queue; at its end everything that it holds goes back."""
    opened = Reading(queue)
    async with opened.leases.extending():
        yield opened
