"""What the Order service reads from its environment."""

from services.order.idempotency import IdempotencySettings
from shared.service import EventDrivenSettings
from shared.settings import Port


class Settings(EventDrivenSettings, IdempotencySettings):
    """See EventDrivenSettings for the rest."""

    port: Port = 8001
