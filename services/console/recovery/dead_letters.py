"""DeadLetters: browses the dead-letter queues, and starts redrives and discards."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from snsqs import WireModel
from snsqs.postgres import DatabaseUnavailable

from services.console.queues import DeadLetterQueue, QueueFinder
from services.console.recovery.audit import Audit
from services.console.recovery.browsing import browse_session
from services.console.recovery.dead_letter import DeadLetter, dead_letter
from services.console.recovery.operation import Operation
from services.console.recovery.operations import Operations
from services.console.recovery.redrive import Removal, Remover
from services.console.registry import Registry
from shared.operations.selection import Filter

BROWSE_TIMEOUT = 10.0
"""Seconds for one queue; an operator waits for the answer."""

MAX_BROWSED_BYTES = 8 * 1024 * 1024

_HAS_REDRIVE_POLICY = "it has a redrive policy of its own, so that browsing may move its messages on"
_WHY_UNSEEN = "the scan reached its limit, another receiver holds them, or they come later in a FIFO group"


class HasRedrivePolicy(Exception):
    """The dead-letter queue has a redrive policy of its own: receiving its messages may move them on. Remove
    the policy first."""


class QueueScan(WireModel):
    """Coverage of a scan of a dead-letter queue."""

    queue: str
    source: str
    """The queue that it serves."""
    count: int
    """Messages in it; an estimate, on AWS up to a minute old."""
    looked_at: int
    """Messages that were scanned."""
    operation: str | None = None
    """Id of the operation that holds its messages, so that they cannot be seen."""
    incomplete: str | None = None
    """Why not everything was seen, or null."""


class Browsed(WireModel):
    """Dead letters, newest first, and how much of each queue was seen."""

    letters: list[DeadLetter]
    queues: list[QueueScan]


class DeadLetters:
    """Dead letters of all consumers of the adapter's topics.

    Browsing holds the messages that it has received, so sessions of one queue wait for each other, and none
    begins while an operation works on the queue.
    """

    def __init__(self, finder: QueueFinder, operations: Operations, audit: Audit, registry: Registry) -> None:
        self._registry = registry
        self._finder = finder
        self._operations = operations
        self._audit = audit
        self._sessions: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def browse(self, queue: str | None, wanted: Filter, limit: int) -> Browsed:
        """Return at most `limit` dead letters of each queue. Raises UnknownQueue, ServiceUnavailable, and
        errors of the SDK."""
        if queue is None:
            queues = await self._finder.dead_letter_queues()
        else:
            queues = [await self._finder.dead_letter_queue(queue)]
        scanned = await asyncio.gather(*(self._browse(each, wanted, limit) for each in queues))
        letters = [letter for _, of_queue in scanned for letter in of_queue]
        letters.sort(key=lambda letter: letter.sent_at, reverse=True)
        return Browsed(letters=letters, queues=[scan for scan, _ in scanned])

    async def remove(self, removal: Removal, who: str) -> Operation:
        """Start a redrive or discard. Raises UnknownQueue, HasRedrivePolicy, Busy, AuditUnavailable,
        ServiceUnavailable, and errors of the SDK."""
        queue = await self._finder.dead_letter_queue(removal.queue)
        if queue.has_redrive_policy:
            raise HasRedrivePolicy(f"{queue.name}: {_HAS_REDRIVE_POLICY}")
        remover = Remover(queue, removal, self._audit, self._registry)

        async def work(operation: Operation) -> bool:
            async with self._sessions[queue.name]:
                return await remover.remove(operation)

        operation = Operation(what=removal.what, who=who, on=queue.name, dry_run=removal.dry_run)
        details = removal.model_dump(
            mode="json", by_alias=True, exclude={"queue", "dry_run"}, exclude_none=True
        )
        return await self._operations.start(operation, work, **details)

    async def _browse(
        self, queue: DeadLetterQueue, wanted: Filter, limit: int
    ) -> tuple[QueueScan, Sequence[DeadLetter]]:
        scan = QueueScan(queue=queue.name, source=queue.source.name, count=queue.count, looked_at=0)
        if queue.has_redrive_policy:
            return scan.model_copy(update={"incomplete": _HAS_REDRIVE_POLICY}), ()
        if operation := await self._running_on(queue.name):
            reason = f"a {operation.what} holds its messages"
            return scan.model_copy(update={"operation": operation.id, "incomplete": reason}), ()
        async with self._sessions[queue.name]:
            return await _scanned(queue, scan, wanted, limit)

    async def _running_on(self, queue: str) -> Operation | None:
        try:
            return await self._operations.running_on(queue)
        except DatabaseUnavailable:  # then no operation moves messages, and browsing must work
            return None


async def _scanned(
    queue: DeadLetterQueue, scan: QueueScan, wanted: Filter, limit: int
) -> tuple[QueueScan, Sequence[DeadLetter]]:
    """End early when there are enough letters, for the caller or for memory, or after BROWSE_TIMEOUT."""
    found: list[DeadLetter] = []
    scanned, size, ends = 0, 0, asyncio.get_running_loop().time() + BROWSE_TIMEOUT
    async with browse_session(queue.queue) as session:
        async for batch in session.batches():
            scanned += len(batch)
            new = [letter for each in batch if (letter := dead_letter(each, queue.name)).fits(wanted)]
            found += new
            size += sum(len(letter.body) for letter in new)
            if len(found) >= limit or size > MAX_BROWSED_BYTES or asyncio.get_running_loop().time() > ends:
                break
    unseen = max(0, queue.count - scanned) + max(0, len(found) - limit)
    incomplete = f"about {unseen} more are there; {_WHY_UNSEEN}" if unseen else session.incomplete
    return scan.model_copy(update={"looked_at": scanned, "incomplete": incomplete}), found[:limit]
