"""Recovery: what a person can do about messages that died, events that are parked or were sent, and
listeners."""

from services.adapter.recovery.api import router
from services.adapter.recovery.audit import Audit
from services.adapter.recovery.operation import Operations
from services.adapter.recovery.queues import Queues
from services.adapter.recovery.recovery import Recovery
from services.adapter.recovery.replay import Replays
from services.adapter.recovery.services import Services

__all__ = ["Audit", "Operations", "Queues", "Recovery", "Replays", "Services", "router"]
