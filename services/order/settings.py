"""Settings of the Order service."""

from pydantic import Field

from services.order.idempotency import IdempotencySettings
from shared.runtime.settings import Port
from shared.runtime.tokens import Token, development_token
from shared.service import EventDrivenSettings


class Settings(EventDrivenSettings, IdempotencySettings):
    """Environment variables of the Order service; common ones are in EventDrivenSettings."""

    port: Port = 8001
    service_token: Token = Field(development_token("order"), validate_default=True)
