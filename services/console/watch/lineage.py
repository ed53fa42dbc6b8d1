"""Lineage: the path of one order's events, hop by hop, from the records of each service."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError
from snsqs import Aggregate, WireModel
from snsqs.aws import transient_errors

from services.console.recovery import DeadLetters
from services.console.recovery.dead_letter import DeadLetter
from services.console.registry import RegisteredService, Registry
from services.console.watch.depths import Depths
from services.console.watch.hop import Events, Hop, OrderRecords, distance, hops
from shared.operations.selection import Filter
from shared.runtime.service_client import ServiceClient, ServiceUnavailable

M = TypeVar("M", bound=WireModel)

_TIMEOUT = 2.0

_MAX_LETTERS = 20
"""Of each queue; an order has a few events."""


class UnknownOrder(Exception):
    """All services answered, and none has records of the order. Check the id."""


class LineageGap(WireModel):
    """A service or a queue whose records are missing or incomplete."""

    service: str
    reason: str


class AggregateNow(Aggregate):
    """Current state of the order at one service, without data of the buyer."""

    service: str
    status: str
    invoice_id: str | None = None
    placed_at: datetime | None = None
    completed_at: datetime | None = None


class Lineage(WireModel):
    """Hops by time; those that have not happened yet come last."""

    order_id: str
    states: list[AggregateNow]
    """At each service that knows the order, by the name of the service."""
    started_at: datetime | None
    total_ms: float | None
    """From the first hop to the last one so far."""
    hops: list[Hop]
    gaps: list[LineageGap]


@dataclass(frozen=True)
class ServiceRecords:
    """The records of one service about an order."""

    service: str
    now: AggregateNow | None = None
    events: Events = field(default_factory=Events)
    gap: LineageGap | None = None

    @property
    def is_empty(self) -> bool:
        return self.now is None and not self.events.published and not self.events.received


class Lineages:
    """Reads lineages from the services, and the dead letters of an order from the queues."""

    def __init__(self, registry: Registry, depths: Depths, dead_letters: DeadLetters) -> None:
        self._registry = registry
        self._depths = depths
        self._dead_letters = dead_letters

    async def read(self, order_id: str, *, with_dead_letters: bool) -> Lineage:
        """Return the lineage of an order. Raises UnknownOrder when all services answer and none has records
        of it, and ServiceUnavailable when the services are not known."""
        services = [each for each in await self._registry.services() if not each.is_adapter]
        records = await asyncio.gather(*(self._records(each, order_id) for each in services))
        gaps = [each.gap for each in records if each.gap]
        if not gaps and all(each.is_empty for each in records):
            asked = ", ".join(each.service for each in records) or "no service"
            raise UnknownOrder(f"no records of order {order_id}; asked: {asked}")
        letters, unseen = await self._letters(order_id) if with_dead_letters else ({}, [])
        consumers = {
            queue.queue: queue.event_types
            for service, found in zip(services, records, strict=True)
            for queue in service.queues
            if not found.gap  # of which it is not known whether they have received an event
        }
        sequence = hops(OrderRecords({each.service: each.events for each in records}, consumers, letters))
        times = [hop.at for hop in sequence if hop.at]
        return Lineage(
            order_id=order_id,
            states=[each.now for each in records if each.now],
            started_at=times[0] if times else None,
            total_ms=distance(times[0], times[-1]) if times else None,
            hops=sequence,
            gaps=[*gaps, *unseen],
        )

    async def _records(self, service: RegisteredService, order_id: str) -> ServiceRecords:
        client = replace(self._registry.client(service.name), timeout=_TIMEOUT)
        try:
            now, events = await asyncio.gather(
                _read(client, f"/orders/{order_id}", AggregateNow, service=service.name),
                _read(client, f"/subjects/{order_id}/events", Events),
            )
        except ServiceUnavailable as error:
            return ServiceRecords(service.name, gap=LineageGap(service=service.name, reason=str(error)))
        return ServiceRecords(service.name, now, events or Events())

    async def _letters(self, order_id: str) -> tuple[dict[str, list[DeadLetter]], list[LineageGap]]:
        """Return the dead letters by source queue, and what could not be seen. Only queues that are not empty
        are browsed: that takes a second, and meanwhile hides the letters from other receivers."""
        wanted = Filter.model_validate({"orderId": order_id})
        letters, gaps = {}, []
        try:
            for depth in await self._depths.all():
                if depth.dead_letters:
                    browsed = await self._dead_letters.browse(depth.queue, wanted, _MAX_LETTERS)
                    letters[depth.queue] = browsed.letters
                    gaps += [
                        LineageGap(service=scan.queue, reason=scan.incomplete)
                        for scan in browsed.queues
                        if scan.incomplete
                    ]
        except transient_errors() as error:
            return {}, [LineageGap(service="dead letters", reason=f"SNS or SQS unavailable: {error}")]
        return letters, gaps


async def _read(client: ServiceClient, path: str, model: type[M], **added: str) -> M | None:
    answer = await client.find(path)
    try:
        return None if answer is None else model.model_validate({**answer, **added})
    except (ValidationError, TypeError) as error:
        raise ServiceUnavailable(f"{client}: unexpected response body for {path}") from error
