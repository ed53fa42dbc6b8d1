"""Held-back events: decided again after the routes have changed."""

from typing import Any

from pydantic import Field, StrictBool
from snsqs import WireModel

from services.console.recovery.adapter import AdapterClient
from services.console.recovery.audit import Audit
from services.console.recovery.proof import DecisionCount, count_decision
from services.console.recovery.services import OperatorIdentity, Services
from shared.operations.event_log_api import MAX_RELEASED, ReleaseHeldBack
from shared.operations.event_search import EventPage
from shared.operations.selection import Name
from shared.runtime.service_client import ServiceClient

NO_ROUTE = "no-route"
"""Rule of events that match no route."""

_PAGE_SIZE = 100


class Release(ReleaseHeldBack):
    """Request to release events of a service that were held back by a rule."""

    service: str
    rule: Name = NO_ROUTE
    dry_run: StrictBool = False


class ReleasedEvents(WireModel):
    """Result of a release."""

    events: int
    """Released; in a dry run, selected. At most 1,000 at a time."""
    decisions: list[DecisionCount] = Field(default_factory=list)
    """In a dry run: what the present routes would decide. The relay decides after a release."""


class HeldBackEvents:
    """Releases events. Methods raise ServiceUnavailable, RequestRejected, UnknownService; `release` raises
    AuditUnavailable before anything is released."""

    def __init__(self, services: Services, adapter: AdapterClient, audit: Audit) -> None:
        self._services = services
        self._adapter = adapter
        self._audit = audit

    async def release(self, command: Release, operator: OperatorIdentity) -> ReleasedEvents:
        """Release up to 1,000 events, those published first; or, in a dry run, show their decisions."""
        service = await self._services.named(command.service, operator)
        body = command.model_dump(
            mode="json", by_alias=True, include={"rule", "selection"}, exclude_none=True
        )
        if command.dry_run:
            return await self._dry_run(service, command, operator)
        async with self._audit.recorded(operator.name, "release", on=service.name, **body) as outcome:
            answer = await service.send("POST", "/event-log/release", body)
            outcome["events"] = answer["ids"]
            outcome["done"] = len(answer["ids"])
        return ReleasedEvents(events=len(answer["ids"]))

    async def _dry_run(
        self, service: ServiceClient, command: Release, operator: OperatorIdentity
    ) -> ReleasedEvents:
        query: dict[str, Any] = command.selection.model_dump(
            mode="json", by_alias=True, exclude={"all"}, exclude_none=True
        )
        query |= {"decision": "held_back", "rule": command.rule, "oldestFirst": True, "limit": _PAGE_SIZE}
        events, decisions = 0, list[DecisionCount]()
        while events < MAX_RELEASED:
            page = EventPage.model_validate(await service.get("/event-log", query))
            found = [event.cloud_event(service.name) for event in page.events]
            for event, decided in zip(
                found, await self._adapter.evaluate(found, operator.headers), strict=True
            ):
                count_decision(decisions, event.type, decided.decision, decided.rule)
            events += len(found)
            if page.next is None:
                break
            query["after"] = page.next
        return ReleasedEvents(events=events, decisions=decisions)
