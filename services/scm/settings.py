"""Settings of the SCM service."""

from pydantic import Field

from shared.runtime.settings import HttpUrl, Port
from shared.runtime.tokens import Token, development_token
from shared.service import EventDrivenSettings


class Settings(EventDrivenSettings):
    """Environment variables of the SCM service; common ones are in EventDrivenSettings."""

    order_url: HttpUrl = "http://127.0.0.1:8001"
    port: Port = 8003
    service_token: Token = Field(development_token("scm"), validate_default=True)
