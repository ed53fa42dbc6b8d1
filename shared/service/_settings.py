"""Settings of services that publish events and consume messages, and their PostgreSQL connections."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field
from snsqs import ListenerOptions
from snsqs.inbox import validate_retention

from shared.runtime.settings import HttpUrl, PostgresUrl, ServiceSettings


class EventDrivenSettings(ServiceSettings):
    """Environment variables of a service with a database, an outbox and listeners."""

    database_url: PostgresUrl = Field(repr=False)
    database_max_connections: int | None = Field(None, ge=1, le=262_143)
    """PostgreSQL connections of one instance; unset, see `connection_limit`."""
    adapter_url: HttpUrl = "http://127.0.0.1:8002"
    event_max_attempts: int = Field(20, ge=1, le=1_000_000)
    """Number of failures after which an event is parked."""
    event_retention_days: int | None = Field(None, ge=1, le=36_500)
    """Days from the decision on an event until it is deleted; unset, events are kept."""
    inbox_retention_days: Annotated[int, AfterValidator(validate_retention)] = Field(30, le=36_500)
    """Days that records of processed messages are kept."""


BACKGROUND_CONNECTIONS = 4
"""One each for the relay, the retention, the listener control and a loop of the service itself."""

REST_CONNECTIONS = 8
"""Requests that read or write at the same time; further requests wait up to 5 s for a connection."""


class TooFewConnections(Exception):
    """DATABASE_MAX_CONNECTIONS is below the minimum. The message names the minimum and its parts."""


def connection_limit(listeners: Iterable[ListenerOptions], configured: int | None = None) -> int:
    """Return the size of the connection pool of an instance with these listeners.

    Each message in process holds a connection for its transaction, so a queue needs as many connections as
    its listener runs handlers at a time (10 by default); background loops need BACKGROUND_CONNECTIONS and
    REST gets REST_CONNECTIONS. `configured` (DATABASE_MAX_CONNECTIONS) replaces this sum; REST gets the
    difference. Connections are opened on demand. PostgreSQL's `max_connections` has to cover the sum over
    all instances, including those that overlap during a deployment.

    Raises TooFewConnections when `configured` leaves REST without a connection.
    """
    handlers = sum(options.max_concurrency for options in listeners)
    minimum = handlers + BACKGROUND_CONNECTIONS + 1
    if configured is None:
        return handlers + BACKGROUND_CONNECTIONS + REST_CONNECTIONS
    if configured < minimum:
        raise TooFewConnections(
            f"DATABASE_MAX_CONNECTIONS={configured} is below the minimum of {minimum}: "
            f"{handlers} for handlers, {BACKGROUND_CONNECTIONS} for background loops, 1 for REST; "
            "raise it or lower the concurrency of the listeners"
        )
    return configured
