"""What the SCM service reads from its environment."""

from shared.inbox import InboxSettings
from shared.outbox import OutboxSettings
from shared.settings import HttpUrl, PostgresUrl, ServiceSettings


class Settings(OutboxSettings, InboxSettings, ServiceSettings):
    """See its bases for the rest."""

    database_url: PostgresUrl
    adapter_url: HttpUrl = "http://127.0.0.1:8002"
    order_url: HttpUrl = "http://127.0.0.1:8001"
    port: int = 8003
