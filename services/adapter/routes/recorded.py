"""Recorded events: those in the event logs of the services that published them."""

import asyncio
from collections.abc import Sequence

from pydantic import ValidationError

from services.adapter.cloud_event import CloudEvent
from shared.operations.event_search import EventPage
from shared.runtime.service_client import ServiceClient, ServiceUnavailable

_PAGE = 500


class EventLogs:
    """Event logs of several services, read over REST."""

    def __init__(self, services: Sequence[ServiceClient]) -> None:
        self._services = services

    async def newest(self, limit: int, **query: str) -> list[CloudEvent]:
        """Return the last events of all services together, newest first. Raises ServiceUnavailable.

        `query` filters them as the parameters of `GET /event-log` do: `type`, `orderId`.
        """
        logs = await asyncio.gather(*(_newest_of(service, limit, query) for service in self._services))
        events = [event for log in logs for event in log]
        return sorted(events, key=lambda event: event.time, reverse=True)[:limit]


async def _newest_of(service: ServiceClient, limit: int, query: dict[str, str]) -> list[CloudEvent]:
    events: list[CloudEvent] = []
    params = query
    while len(events) < limit:
        page_size = {"limit": str(min(_PAGE, limit - len(events)))}
        try:
            page = EventPage.model_validate(await service.find("/event-log", params | page_size))
            found = [event.cloud_event(service.name).model_dump() for event in page.events]
            events += [CloudEvent.model_validate(event) for event in found]
        except ValidationError as error:
            raise ServiceUnavailable(f"{service}: its answer is not an event log") from error
        if page.next is None:
            break
        params = query | {"after": str(page.next)}
    return events
