"""Direct access to queues, for tools that browse, move or count messages."""

from snsqs._batching import batched
from snsqs._lease import LeaseKeeper
from snsqs._queue import MAX_BATCH_SIZE, BatchOutcome, ListenerQueues, Queue, RawAttributes, Received, is_fifo
from snsqs._sqs import SqsQueue

__all__ = [
    "MAX_BATCH_SIZE",
    "BatchOutcome",
    "LeaseKeeper",
    "ListenerQueues",
    "Queue",
    "RawAttributes",
    "Received",
    "SqsQueue",
    "batched",
    "is_fifo",
]
