"""Settings of the SCM service."""

from shared.runtime.settings import HttpUrl, Port
from shared.service import EventDrivenSettings


class Settings(EventDrivenSettings):
    """Environment variables of the SCM service; common ones are in EventDrivenSettings."""

    order_url: HttpUrl = "http://127.0.0.1:8001"
    port: Port = 8003
