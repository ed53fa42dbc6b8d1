"""ListenerHealth: the condition of a listener."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ListenerState = Literal["starting", "listening", "paused", "degraded", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class ListenerHealth:
    """Condition of a listener at one moment (`ListenerContainer.health`)."""

    queue: str
    state: ListenerState
    """`starting` until `run` has found the queue, `degraded` while there is a `reason`, `stopping` while the
    listener drains."""
    reason: str | None
    """Reason why messages are not received or not settled: the error of a call of its queues, or the one that
    ended the listener. Or why they are not handled as they should be: handlers that do not end, or wait for a
    dependency; and for five minutes lost leases, and errors that are no Exception."""
    in_flight: int
    """Number of running handlers."""
    buffered: int
    """Number of received messages that wait for a handler."""
    oldest_message_age: float | None
    """Seconds since the oldest message in process was sent: buffered, being handled, or not deleted yet. None
    if there is none, or the queue gives no time of sending."""
    last_poll: datetime | None
    """Time of the last receive call that succeeded, also without messages. An idle listener makes one every
    `ListenerOptions.poll_timeout` seconds."""
