"""Settings of the Console service."""

from pydantic import Field

from shared.runtime.settings import HttpUrl, Port, PostgresUrl, ServiceSettings


class Settings(ServiceSettings):
    """Environment variables of the Console service; common ones are in ServiceSettings."""

    database_url: PostgresUrl = Field(repr=False)
    order_url: HttpUrl = "http://127.0.0.1:8001"
    adapter_url: HttpUrl = "http://127.0.0.1:8002"
    scm_url: HttpUrl = "http://127.0.0.1:8003"
    port: Port = 8000
