"""Connections of a client that long polls may occupy.

A long poll occupies a connection for up to 20 s. If polls took the whole pool, deletes, extensions and dead
letters would wait behind them, until leases are lost.
"""

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from snsqs._errors import ListenerMisconfigured

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

    from snsqs._sqs import SqsQueue

_MAX_RESERVED = 10


class PollCapacity:
    """Connections of a client for polls: all but ten, or half of a small pool, which are for other calls."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._reserved = max(1, min(_MAX_RESERVED, connections // 2))
        self._listeners: WeakSet[SqsQueue] = WeakSet()
        self.polls = asyncio.Semaphore(max(1, connections - self._reserved))
        """Held by a poll while it lasts."""

    def add_listener(self, queue: "SqsQueue") -> None:
        """Count the listener of a queue, which occupies a connection while it is idle. Raises
        ListenerMisconfigured when there is none for it."""
        self._listeners.add(queue)
        listeners = len(self._listeners)
        if listeners + self._reserved > self._connections:
            self._listeners.discard(queue)
            raise ListenerMisconfigured(
                f"{queue.name}: the SQS client has {self._connections} connections; {listeners} listeners "
                f"need at least {listeners + self._reserved}, as {self._reserved} are kept for other calls "
                "than polls; set `connections` of aws_clients, or `max_pool_connections` of the SDK's Config"
            )


_capacities: "WeakKeyDictionary[SQSClient, PollCapacity]" = WeakKeyDictionary()


def poll_capacity(client: "SQSClient") -> PollCapacity:
    """Return the capacity of a client, which all its queues share."""
    if (capacity := _capacities.get(client)) is None:
        connections: int = vars(client.meta.config)["max_pool_connections"]
        capacity = _capacities[client] = PollCapacity(connections)
    return capacity
