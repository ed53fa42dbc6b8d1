"""Recovery on the command line. It talks to the adapter's API, so that there is one way to do it."""

from services.adapter.recovery.command.dead_letters import cli as dead_letters
from services.adapter.recovery.command.history import audit, operations

__all__ = ["audit", "dead_letters", "operations"]
