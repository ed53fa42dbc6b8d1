"""Command line of the console, a client of its REST API."""

from services.console.cli.dead_letters import cli as dead_letters
from services.console.cli.held_back import cli as held_back
from services.console.cli.history import audit, operations
from services.console.cli.listeners import cli as listeners
from services.console.cli.parked import cli as parked
from services.console.cli.replay import replay
from services.console.cli.services import cli as services
from services.console.cli.versions import cli as versions

__all__ = [
    "audit",
    "dead_letters",
    "held_back",
    "listeners",
    "operations",
    "parked",
    "replay",
    "services",
    "versions",
]
