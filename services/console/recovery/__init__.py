"""Recovery: what a person can do about messages that died, events that are parked or were sent, and
listeners."""

from services.console.recovery.api import router
from services.console.recovery.audit import Audit
from services.console.recovery.operation import Operations
from services.console.recovery.queues import Queues
from services.console.recovery.recovery import Recovery
from services.console.recovery.replay import Replays
from services.console.recovery.services import Services

__all__ = ["Audit", "Operations", "Queues", "Recovery", "Replays", "Services", "router"]
