"""Recovery on the command line. It talks to the adapter's API, so that there is one way to do it."""

from services.adapter.recovery.command.dead_letters import cli as dead_letters
from services.adapter.recovery.command.history import audit, operations
from services.adapter.recovery.command.listeners import cli as listeners
from services.adapter.recovery.command.parked import cli as parked
from services.adapter.recovery.command.replay import replay

__all__ = ["audit", "dead_letters", "listeners", "operations", "parked", "replay"]
