"""LogPage: a page of a service's event log (`GET /event-log`), with its events as CloudEvents."""

from datetime import datetime
from typing import Any

from snsqs import WireModel

from services.adapter.cloud_event import CloudEvent


class _Event(WireModel):
    id: str
    type: str
    subject: str
    sequence: int
    occurred_at: datetime
    traceparent: str | None
    data: dict[str, Any]


class LogPage(WireModel):
    """As far as it is read here."""

    events: list[_Event]
    next: int | None
    """To be asked for as `after`; null on the last page."""

    def cloud_events(self, source: str) -> list[CloudEvent]:
        """In the order of the page; `source` is the service."""
        return [_cloud_event(event, source) for event in self.events]


def _cloud_event(event: _Event, source: str) -> CloudEvent:
    return CloudEvent(
        specversion="1.0",
        id=event.id,
        source=source,
        type=event.type,
        subject=event.subject,
        time=event.occurred_at,
        sequence=str(event.sequence),
        traceparent=event.traceparent,
        data=event.data,
    )
