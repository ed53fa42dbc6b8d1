"""What the SCM service reads from its environment."""

from shared.runtime.settings import HttpUrl, Port
from shared.service.settings import EventDrivenSettings


class Settings(EventDrivenSettings):
    """See EventDrivenSettings for the rest."""

    order_url: HttpUrl = "http://127.0.0.1:8001"
    port: Port = 8003
