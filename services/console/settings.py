"""Settings of the Console service."""

from pydantic import Field

from shared.runtime.settings import Port, PostgresUrl, ServiceSettings
from shared.runtime.tokens import Token, development_token


class Settings(ServiceSettings):
    """Environment variables of the Console service; common ones are in ServiceSettings."""

    database_url: PostgresUrl = Field(repr=False)
    port: Port = 8000
    service_token: Token = Field(development_token("console"), validate_default=True)
