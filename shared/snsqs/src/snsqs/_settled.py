"""MessageOutcome: what became of a message, for whoever looks on while it happens."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class MessageOutcome:
    """One message that its listener is done with, for good or until it comes again."""

    queue: str
    message_id: str
    """The event's id, not the queue's."""
    type: str
    subject: str
    handler: str | None
    """The function that took it; None where no function takes its type."""
    outcome: str
    """`handled`, or what middleware says instead (see `Inbox`); `failed`, `dead_letter`, `lease_lost`,
    `not_acknowledged`, `ignored`."""
    reason: str | None
    """The error, where there was one."""
    receive_count: int
    received_at: datetime
    settled_at: datetime


OutcomeObserver = Callable[[MessageOutcome], None]
"""Is told of every message that was settled, at once: it must be quick, and must not raise."""
