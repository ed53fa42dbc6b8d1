"""Wire models between a relay and an adapter: a batch of CloudEvents, and the decision on each event.

A relay posts a JSON array of `CloudEvent` with the content type `BATCH_CONTENT_TYPE`; the adapter answers
with a `BatchResult`. See https://github.com/cloudevents/spec, JSON batch format.
"""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field, field_validator

from snsqs._model import UNSET, WireModel, required_in_json

__all__ = [
    "BATCH_CONTENT_TYPE",
    "BatchResult",
    "CloudEvent",
    "EventResult",
]

BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"


class CloudEvent(WireModel):
    """A domain event with its metadata, as a relay sends it."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    """Name of the service that published the event."""
    type: str
    subject: str
    """Id of the aggregate."""
    time: AwareDatetime
    sequence: str
    """Version of the aggregate, in decimal digits."""
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: str | None = None
    tracestate: str | None = None
    data: dict[str, Any]
    """The domain event: `source`, the aggregate, and `occurenceOn`, milliseconds since the epoch."""


class EventResult(WireModel):
    """Decision on one event of a batch."""

    id: str
    decision: Literal["forwarded", "held_back", "failed"]
    """`failed`: there is no decision yet; the event should be sent again."""
    rule: str | None = None
    """Id of the rule that decided."""
    decided_at: AwareDatetime = Field(default_factory=lambda: UNSET, validate_default=True)
    """Required in JSON."""
    message_id: str | None = None
    """Id that the transport assigned to a forwarded event."""
    error: str | None = None
    """Reason of a failure."""

    _default_time = field_validator("decided_at", mode="before")(required_in_json(lambda: datetime.now(UTC)))


class BatchResult(WireModel):
    """Response to a batch: one result per event, in any order."""

    results: list[EventResult]
