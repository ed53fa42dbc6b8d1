"""What the Order service reads from its environment."""

from services.order.idempotency import IdempotencySettings
from shared.runtime.settings import Port
from shared.service.settings import EventDrivenSettings


class Settings(EventDrivenSettings, IdempotencySettings):
    """See EventDrivenSettings for the rest."""

    port: Port = 8001
