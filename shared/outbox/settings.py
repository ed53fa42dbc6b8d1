"""What a service with an outbox reads from its environment."""

from pydantic import Field

from shared.settings import EnvironmentSettings


class OutboxSettings(EnvironmentSettings):
    """Part of the settings of a service that publishes."""

    event_max_attempts: int = Field(20, ge=1)
    """After so many failures an event is parked."""
    event_retention_days: int | None = Field(None, ge=1, le=36_500)
    """Days after its decision that an event is deleted; unset, it is kept."""
