"""Recovery: operators' commands on dead letters, parked and sent events, and listeners."""

from services.console.recovery.adapter import AdapterClient
from services.console.recovery.api import STATUSES, router
from services.console.recovery.audit import Audit
from services.console.recovery.dead_letters import DeadLetters
from services.console.recovery.held_back import HeldBackEvents
from services.console.recovery.operations import Operations
from services.console.recovery.replay import Replays
from services.console.recovery.services import Services

__all__ = [
    "STATUSES",
    "AdapterClient",
    "Audit",
    "DeadLetters",
    "HeldBackEvents",
    "Operations",
    "Replays",
    "Services",
    "router",
]
