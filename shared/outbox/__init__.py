"""The transactional outbox: events are written with the command that caused them, and relayed after it."""

from shared.outbox.event_log import EventLog, LoggedEvent, history
from shared.outbox.relay import Relay

__all__ = ["EventLog", "LoggedEvent", "Relay", "history"]
