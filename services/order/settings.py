"""Settings of the Order service."""

from services.order.idempotency import IdempotencySettings
from shared.runtime.settings import Port
from shared.service import EventDrivenSettings


class Settings(EventDrivenSettings, IdempotencySettings):
    """Environment variables of the Order service; common ones are in EventDrivenSettings."""

    port: Port = 8001
