"""Recorded: events that really happened, read from the event logs of the services that published them."""

import asyncio
from collections.abc import Sequence

from pydantic import ValidationError

from services.adapter.cloud_event import CloudEvent
from services.adapter.log_page import LogPage
from shared.runtime.service_client import ServiceClient, ServiceUnavailable

_PAGE = 500


async def newest(services: Sequence[ServiceClient], last: int, **asked: str) -> list[CloudEvent]:
    """The last events of all services together, the newest first. Raises ServiceUnavailable.

    `asked` narrows them down as the query of `/event-log` does: `type`, `orderId`.
    """
    logs = await asyncio.gather(*(_newest_of(service, last, asked) for service in services))
    events = [event for log in logs for event in log]
    return sorted(events, key=lambda event: event.time, reverse=True)[:last]


async def _newest_of(service: ServiceClient, last: int, asked: dict[str, str]) -> list[CloudEvent]:
    found: list[CloudEvent] = []
    query = asked
    while len(found) < last:
        limit = {"limit": str(min(_PAGE, last - len(found)))}
        answer = await service.find("/event-log", query | limit)
        try:
            page = LogPage.model_validate(answer)
            found += page.cloud_events(service.name)
        except ValidationError as error:
            raise ServiceUnavailable(f"{service}: its answer is no event log") from error
        if page.next is None:
            break
        query = asked | {"after": str(page.next)}
    return found
