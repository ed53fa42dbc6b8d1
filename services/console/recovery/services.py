"""Services: parked events and listeners of all services, read and changed for an operator."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote

from pydantic import StrictBool
from snsqs import WireModel
from snsqs.inbox import HandledVersion
from snsqs.outbox import ParkedEvent

from services.console.recovery.audit import Audit
from services.console.registry import Registry
from shared.operations.event_log_api import Resubmitted
from shared.operations.handled_versions_api import RepairedVersion, VersionRepair
from shared.operations.listener_control import ListenerStatus
from shared.operations.selection import Filter, Selection
from shared.runtime.service_client import ServiceClient, ServiceUnavailable
from shared.web import RequestModel

M = TypeVar("M", bound=WireModel)


class OperatorIdentity(NamedTuple):
    """Name of an operator, and the headers with the operator's token, which are passed on to the services.
    The console needs no rights of its own for what operators may do."""

    name: str
    headers: Mapping[str, str]


class Gap(WireModel):
    """A service that did not answer."""

    service: str
    reason: str


class ServiceParkedEvent(ParkedEvent):
    """A parked event and its service."""

    service: str


class ParkedEvents(WireModel):
    """Parked events by service, those first that were parked first."""

    events: list[ServiceParkedEvent]
    gaps: list[Gap]


class ServiceListener(ListenerStatus):
    """A listener and its service."""

    service: str


class AllListeners(WireModel):
    """Listeners by service and queue."""

    listeners: list[ServiceListener]
    gaps: list[Gap]


class Resubmit(RequestModel):
    """Request to relay parked events of a service again."""

    service: str
    selection: Selection
    dry_run: StrictBool = False


class ServiceVersion(HandledVersion):
    """Newest handled version of an order, and its service."""

    service: str


class HandledVersions(WireModel):
    """Newest handled versions of an order, by service and queue."""

    versions: list[ServiceVersion]
    gaps: list[Gap]


class RepairVersion(VersionRepair):
    """Request to repair the newest handled version of an order at a queue of a service."""

    service: str
    queue: str


class Services:
    """REST client of all services. Methods raise ServiceUnavailable, RequestRejected and UnknownService;
    those that change something raise AuditUnavailable before they do."""

    def __init__(self, registry: Registry, audit: Audit) -> None:
        self._registry = registry
        self._audit = audit

    async def named(self, name: str, operator: OperatorIdentity) -> ServiceClient:
        """Return the client of a service, with the operator's headers."""
        await self._registry.service(name)
        return self._registry.client(name).with_headers(operator.headers)

    async def parked(
        self, wanted: Filter, limit: int, service: str | None, operator: OperatorIdentity
    ) -> ParkedEvents:
        """Return up to `limit` parked events of one service, or of each."""
        params = _params(wanted) | {"limit": limit}
        events, gaps = await self._collect("/parked", params, service, ServiceParkedEvent, operator)
        return ParkedEvents(events=events, gaps=gaps)

    async def resubmit(self, command: Resubmit, operator: OperatorIdentity) -> Resubmitted:
        """Resubmit up to 1,000 parked events, or in a dry run return those that would be."""
        service, selection = await self.named(command.service, operator), command.selection
        about = {"on": service.name, "dryRun": command.dry_run, "selection": _params(selection)}
        async with self._audit.recorded(operator.name, "resubmit", **about) as outcome:
            if command.dry_run:
                params = _params(selection, exclude={"all"}) | {"limit": 1_000}
                ids = [each["id"] for each in await service.get("/parked", params)]
            else:
                answer = await service.send("POST", "/parked/resubmit", _params(selection))
                ids = outcome["events"] = answer["ids"]
            outcome["done"] = 0 if command.dry_run else len(ids)
        return Resubmitted.model_validate({"ids": ids})

    async def listeners(self, operator: OperatorIdentity) -> AllListeners:
        listeners, gaps = await self._collect("/listeners", {}, None, ServiceListener, operator)
        return AllListeners(listeners=listeners, gaps=gaps)

    async def change(
        self, what: Literal["pause", "resume"], service: str, queue: str, operator: OperatorIdentity
    ) -> ServiceListener:
        """Pause or resume a listener."""
        client = await self.named(service, operator)
        async with self._audit.recorded(operator.name, what, on=queue, service=service):
            status = await client.send("POST", f"/listeners/{queue}/{what}")
        return ServiceListener(**status, service=service)

    async def versions(self, order_id: str, operator: OperatorIdentity) -> HandledVersions:
        """Return the newest handled versions of an order."""
        params = {"orderId": order_id}
        versions, gaps = await self._collect("/handled-versions", params, None, ServiceVersion, operator)
        return HandledVersions(versions=versions, gaps=gaps)

    async def repair_version(self, command: RepairVersion, operator: OperatorIdentity) -> RepairedVersion:
        """Set the newest handled version of an order."""
        service = await self.named(command.service, operator)
        body = command.model_dump(mode="json", by_alias=True, exclude={"service", "queue"})
        about = {"on": command.queue, "service": service.name, **body}
        async with self._audit.recorded(operator.name, "repair version", **about) as outcome:
            answer = await service.send("PUT", f"/handled-versions/{quote(command.queue, safe='')}", body)
            outcome["before"] = answer["before"]
        return RepairedVersion.model_validate(answer)

    async def _collect(
        self,
        path: str,
        params: Mapping[str, Any],
        only: str | None,
        kind: type[M],
        operator: OperatorIdentity,
    ) -> tuple[list[M], list[Gap]]:
        """Return the items of all services, and the services that did not answer."""

        async def of(service: ServiceClient) -> list[M] | Gap:
            try:
                found = await service.get(path, params)
            except ServiceUnavailable as error:
                return Gap(service=service.name, reason=str(error))
            return [kind(**each, service=service.name) for each in found]

        names = [each.name for each in await self._registry.services() if not each.is_adapter]
        services = [await self.named(name, operator) for name in ([only] if only else names)]
        answers = await asyncio.gather(*(of(service) for service in services))
        together = [each for answer in answers if not isinstance(answer, Gap) for each in answer]
        return together, [answer for answer in answers if isinstance(answer, Gap)]


def _params(wanted: Filter, exclude: set[str] | None = None) -> dict[str, Any]:
    return wanted.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=exclude)
