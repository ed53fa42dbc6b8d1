"""Recorded: events that really happened, read from the event logs of the services that published them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from services.adapter.cloud_event import CloudEvent
from services.adapter.console import Neighbour
from services.adapter.console.neighbour import Away
from shared.domain_event import WireModel

_PAGE = 500


class _Event(WireModel):
    id: str
    type: str
    subject: str
    sequence: int
    occurred_at: datetime
    traceparent: str | None
    data: dict[str, Any]


class _Page(WireModel):
    events: list[_Event]
    next: int | None


async def newest(services: Sequence[Neighbour], last: int, **asked: str) -> list[CloudEvent]:
    """The last events of all services together, the newest first. Raises Away.

    `asked` narrows them down as the query of `/event-log` does: `type`, `orderId`.
    """
    logs = await asyncio.gather(*(_newest_of(service, last, asked) for service in services))
    events = [event for log in logs for event in log]
    return sorted(events, key=lambda event: event.time, reverse=True)[:last]


async def _newest_of(service: Neighbour, last: int, asked: dict[str, str]) -> list[CloudEvent]:
    found: list[CloudEvent] = []
    query = asked
    while len(found) < last:
        limit = {"limit": str(min(_PAGE, last - len(found)))}
        answer = await service.get("/event-log", {name: [value] for name, value in (query | limit).items()})
        try:
            page = _Page.model_validate_json(answer or b"")
            found += [_cloud_event(event, service.name) for event in page.events]
        except ValidationError as error:
            raise Away(f"{service.url}: its answer is no event log") from error
        if page.next is None:
            break
        query = asked | {"after": str(page.next)}
    return found


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
