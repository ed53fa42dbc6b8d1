"""Direct access to queues, for tools that browse, move or count messages."""

from snsqs._batching import by_count
from snsqs._lease import LeaseKeeper
from snsqs._queue import BATCH, BatchOutcome, ListenerQueues, Queue, RawAttributes, Received, is_fifo
from snsqs._sqs import SqsQueue

__all__ = [
    "BATCH",
    "BatchOutcome",
    "LeaseKeeper",
    "ListenerQueues",
    "Queue",
    "RawAttributes",
    "Received",
    "SqsQueue",
    "by_count",
    "is_fifo",
]
