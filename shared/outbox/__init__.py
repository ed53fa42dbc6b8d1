"""The transactional outbox: events are written with the command that caused them, and relayed after it."""

from shared.outbox.backlog import ParkedEvent, Waiting, parked, resubmit, waiting
from shared.outbox.event_log import EventLog, LoggedEvent, decided_events, history
from shared.outbox.relay import Relay, RelayOptions
from shared.outbox.settings import OutboxSettings

__all__ = [
    "EventLog",
    "LoggedEvent",
    "OutboxSettings",
    "ParkedEvent",
    "Relay",
    "RelayOptions",
    "Waiting",
    "decided_events",
    "history",
    "parked",
    "resubmit",
    "waiting",
]
