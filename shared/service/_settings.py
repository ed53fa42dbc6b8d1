"""Settings of services that publish events and consume messages."""

from typing import Annotated

from pydantic import AfterValidator, Field
from snsqs.inbox import validate_retention

from shared.runtime.settings import HttpUrl, PostgresUrl, ServiceSettings


class EventDrivenSettings(ServiceSettings):
    """Environment variables of a service with a database, an outbox and listeners."""

    database_url: PostgresUrl = Field(repr=False)
    database_max_connections: int | None = Field(None, ge=1)
    """PostgreSQL connections of one instance; unset, see `connection_limit`."""
    adapter_url: HttpUrl = "http://127.0.0.1:8002"
    event_max_attempts: int = Field(20, ge=1)
    """Number of failures after which an event is parked."""
    event_retention_days: int | None = Field(None, ge=1, le=36_500)
    """Days from the decision on an event until it is deleted; unset, events are kept."""
    inbox_retention_days: Annotated[int, AfterValidator(validate_retention)] = Field(30, le=36_500)
    """Days that records of processed messages are kept."""
