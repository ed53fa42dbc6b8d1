"""Services: the parked events and the listeners of all services, and what a person does about them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import StrictBool
from snsqs import WireModel
from snsqs.outbox import ParkedEvent

from services.console.recovery.audit import Audit
from shared.operations.listener_control import ListenerStatus
from shared.operations.selection import Filter, Selection
from shared.runtime.service_client import ServiceClient, ServiceUnavailable
from shared.web import RequestModel

M = TypeVar("M", bound=WireModel)


class UnknownService(Exception):
    """There is no service of this name."""


class Person(NamedTuple):
    """Who asks, and what says so to the services too. The adapter needs no right of its own to do what
    operators may."""

    name: str
    headers: Mapping[str, str]


class Gap(WireModel):
    """A service that could not be asked."""

    service: str
    reason: str


class ServiceParkedEvent(ParkedEvent):
    """An event that is parked at a service."""

    service: str


class ParkedEvents(WireModel):
    """Of each service those first that have been parked for the longest."""

    events: list[ServiceParkedEvent]
    gaps: list[Gap]


class ServiceListener(ListenerStatus):
    """A listener of a service."""

    service: str


class AllListeners(WireModel):
    """By service and queue."""

    listeners: list[ServiceListener]
    gaps: list[Gap]


class Resubmit(RequestModel):
    """Which parked events of which service are to be relayed again."""

    service: str
    selection: Selection
    dry_run: StrictBool = False


class Resubmitted(WireModel):
    """The events that wait again; in a dry run those that would. A thousand at most."""

    ids: list[str]


class Services:
    """Asks the services over REST. Raises ServiceUnavailable and RequestRejected; AuditUnavailable before
    anything is done; UnknownService."""

    def __init__(self, services: Sequence[ServiceClient], audit: Audit) -> None:
        self._by_name = {each.name: each for each in services}
        self._audit = audit

    def all(self, person: Person) -> list[ServiceClient]:
        """As they are asked by a person."""
        return [each.with_headers(person.headers) for each in self._by_name.values()]

    def named(self, name: str, person: Person) -> ServiceClient:
        try:
            return self._by_name[name].with_headers(person.headers)
        except KeyError:
            raise UnknownService(f"no service {name!r}; there are {', '.join(self._by_name)}") from None

    async def parked(self, wanted: Filter, limit: int, service: str | None, person: Person) -> ParkedEvents:
        """Of one service, or of all."""
        params = _params(wanted) | {"limit": limit}
        events, gaps = await self._of_all("/parked", params, service, ServiceParkedEvent, person)
        return ParkedEvents(events=events, gaps=gaps)

    async def resubmit(self, command: Resubmit, person: Person) -> Resubmitted:
        service, selection = self.named(command.service, person), command.selection
        about = {"on": service.name, "dryRun": command.dry_run, "selection": _params(selection)}
        async with self._audit.of(person.name, "resubmit", **about) as outcome:
            if command.dry_run:
                params = _params(selection, exclude={"all"}) | {"limit": 1_000}
                ids = [each["id"] for each in await service.get("/parked", params)]
            else:
                answer = await service.send("POST", "/parked/resubmit", _params(selection))
                ids = outcome["events"] = answer["ids"]
            outcome["done"] = 0 if command.dry_run else len(ids)
        return Resubmitted(ids=ids)

    async def listeners(self, person: Person) -> AllListeners:
        listeners, gaps = await self._of_all("/listeners", {}, None, ServiceListener, person)
        return AllListeners(listeners=listeners, gaps=gaps)

    async def change(
        self, what: Literal["pause", "resume"], service: str, queue: str, person: Person
    ) -> ServiceListener:
        """Pauses or resumes a listener."""
        asked = self.named(service, person)
        async with self._audit.of(person.name, what, on=queue, service=service):
            status = await asked.send("POST", f"/listeners/{queue}/{what}")
        return ServiceListener(**status, service=service)

    async def _of_all(
        self, path: str, params: Mapping[str, Any], only: str | None, kind: type[M], person: Person
    ) -> tuple[list[M], list[Gap]]:
        """The lists of the services together, and those that did not answer."""

        async def of(service: ServiceClient) -> list[M] | Gap:
            try:
                found = await service.get(path, params)
            except ServiceUnavailable as error:
                return Gap(service=service.name, reason=str(error))
            return [kind(**each, service=service.name) for each in found]

        services = self.all(person) if only is None else [self.named(only, person)]
        answers = await asyncio.gather(*(of(service) for service in services))
        together = [each for answer in answers if not isinstance(answer, Gap) for each in answer]
        return together, [answer for answer in answers if isinstance(answer, Gap)]


def _params(wanted: Filter, exclude: set[str] | None = None) -> dict[str, Any]:
    return wanted.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=exclude)
