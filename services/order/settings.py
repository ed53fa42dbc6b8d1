"""What the Order service reads from its environment."""

from services.order.idempotency import IdempotencySettings
from shared.service import EventDrivenSettings


class Settings(EventDrivenSettings, IdempotencySettings):
    """See EventDrivenSettings for the rest."""

    port: int = 8001
