"""Direct access to queues, for tools that browse, move or count messages."""

from snsqs._batching import message_attributes
from snsqs._dead_letter import dead_letter_attributes, original_attributes
from snsqs._lease import LeaseKeeper
from snsqs._queue import (
    MAX_BATCH_SIZE,
    BatchOutcome,
    ListenerQueues,
    Queue,
    RawAttributes,
    Received,
    batched,
    is_fifo,
)
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
    "dead_letter_attributes",
    "is_fifo",
    "message_attributes",
    "original_attributes",
]
