"""Queue that the experiments send to, and the depth of its dead-letter queue."""

from snsqs import AwsClients
from snsqs.queues import SqsQueue
from snsqs.topology import Lookup

QUEUE = "scm-adapter-order-event-queue"
_MALFORMED = '{"source": {"id": "not an order", "orderLines": "none"}'


class QueueMissing(Exception):
    """SCM's queue does not exist yet; SCM creates it when it starts."""


class ExperimentQueue:
    """SCM's queue. Methods raise QueueMissing, and errors of the SDK."""

    def __init__(self, clients: AwsClients) -> None:
        self._lookup = Lookup(clients)

    async def send_malformed(self) -> None:
        """Send a message that no handler can decode."""
        queue = await self._queue(QUEUE)
        await queue.send(_MALFORMED, {"ce-type": {"DataType": "String", "StringValue": "OrderCompleted"}})

    async def dead_letters(self) -> int:
        """Return the number of dead letters, visible or in flight."""
        queue = await self._queue(f"{QUEUE}-dlq")
        return sum(await queue.depth())

    async def _queue(self, name: str) -> SqsQueue:
        if queue := await self._lookup.queue(name):
            return queue
        raise QueueMissing(f"there is no queue {name}: SCM creates it when it starts")
