"""The transactional outbox: events are written with the command that caused them, and relayed after it."""

from snsqs.outbox._backlog import ParkedEvent, Waiting, parked, resubmit, waiting
from snsqs.outbox._event_log import EventLog, LoggedEvent, decided_events, history
from snsqs.outbox._relay import Relay, RelayOptions

__all__ = [
    "EventLog",
    "LoggedEvent",
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
