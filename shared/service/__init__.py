"""Process and composition of a service.

`command_line` serves an application, `event_driven` adds outbox and listeners to it.
"""

from shared.service._event_driven import MonitoredLoop, event_driven
from shared.service._process import Server, StartRefused, add_migrate, bind, command_line
from shared.service._settings import EventDrivenSettings, TooFewConnections, connection_limit

__all__ = [
    "EventDrivenSettings",
    "MonitoredLoop",
    "Server",
    "StartRefused",
    "TooFewConnections",
    "add_migrate",
    "bind",
    "command_line",
    "connection_limit",
    "event_driven",
]
