"""What the laboratory does to a queue, and sees of its dead letters."""

from snsqs import AwsClients
from snsqs.queues import SqsQueue
from snsqs.topology import Lookup

QUEUE = "scm-adapter-order-event-queue"
_BAD = '{"source": {"id": "not an order", "orderLines": "none"}'


class NoQueue(Exception):
    """SCM has no queue yet: it makes it when it starts."""


class Letterbox:
    """SCM's queue and its dead-letter queue, at the SQS that the adapter publishes to. Raises NoQueue."""

    def __init__(self, clients: AwsClients) -> None:
        self._lookup = Lookup(clients)

    async def poison(self) -> None:
        """Sends what no handler can read."""
        queue = await self._queue(QUEUE)
        await queue.send(_BAD, {"ce-type": {"DataType": "String", "StringValue": "OrderCompleted"}})

    async def dead_letters(self) -> int:
        queue = await self._queue(f"{QUEUE}-dlq")
        return sum(await queue.depth())

    async def _queue(self, name: str) -> SqsQueue:
        if queue := await self._lookup.queue(name):
            return queue
        raise NoQueue(f"there is no queue {name}: SCM makes it when it starts")
