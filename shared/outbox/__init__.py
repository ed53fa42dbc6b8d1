"""The transactional outbox: events are written with the command that caused them, and relayed after it."""

from shared.outbox.api import router
from shared.outbox.backlog import ParkedEvent, Waiting, parked, resubmit, waiting
from shared.outbox.event_log import EventLog, LoggedEvent, decided_events, history
from shared.outbox.relay import Relay, RelayOptions
from shared.outbox.search import EventPage, FoundEvent, Search, State, search
from shared.outbox.settings import OutboxSettings

__all__ = [
    "EventLog",
    "EventPage",
    "FoundEvent",
    "LoggedEvent",
    "OutboxSettings",
    "ParkedEvent",
    "Relay",
    "RelayOptions",
    "Search",
    "State",
    "Waiting",
    "decided_events",
    "history",
    "parked",
    "resubmit",
    "router",
    "search",
    "waiting",
]
