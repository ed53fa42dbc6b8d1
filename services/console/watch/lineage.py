"""Lineage: the path of one order's events, hop by hop, from the records of each service."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError
from snsqs import Aggregate, WireModel
from snsqs.aws import transient_errors

from services.console.recovery import DeadLetters
from services.console.recovery.dead_letter import DeadLetter
from services.console.watch.depths import Depths
from services.console.watch.hop import Events, Hop, OrderRecords, distance, hops
from shared.operations.progress import ServiceProgress
from shared.operations.selection import Filter
from shared.runtime.service_client import ServiceClient, ServiceUnavailable

M = TypeVar("M", bound=WireModel)

_MAX_LETTERS = 20
"""Of each queue; an order has a few events."""


class UnknownOrder(Exception):
    """All services answered, and none has records of the order. Check the id."""


class Gap(WireModel):
    """A service or a queue whose records are missing or incomplete."""

    service: str
    reason: str


class AggregateNow(Aggregate):
    """Current state of an order, or of its fulfilment, without data of the buyer."""

    status: str
    invoice_id: str | None = None
    placed_at: datetime | None = None
    completed_at: datetime | None = None


class Lineage(WireModel):
    """Hops by time; those that have not happened yet come last."""

    order_id: str
    order: AggregateNow | None
    fulfilment: AggregateNow | None
    started_at: datetime | None
    total_ms: float | None
    """From the first hop to the last one so far."""
    hops: list[Hop]
    gaps: list[Gap]


@dataclass(frozen=True)
class ServiceRecords:
    """The records of one service about an order."""

    service: str
    now: AggregateNow | None = None
    events: Events = field(default_factory=Events)
    consumers: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Event types of the handlers, by queue."""
    gap: Gap | None = None

    @property
    def is_empty(self) -> bool:
        return self.now is None and not self.events.published and not self.events.received


class Lineages:
    """Reads lineages from the services, and the dead letters of an order from the queues."""

    def __init__(
        self, order: ServiceClient, scm: ServiceClient, depths: Depths, dead_letters: DeadLetters
    ) -> None:
        self._order = order
        self._scm = scm
        self._depths = depths
        self._dead_letters = dead_letters

    async def read(self, order_id: str, *, with_dead_letters: bool) -> Lineage:
        """Return the lineage of an order. Raises UnknownOrder when both services answer and neither has
        records of it."""
        order, scm = await asyncio.gather(_records(self._order, order_id), _records(self._scm, order_id))
        gaps = [each.gap for each in (order, scm) if each.gap]
        if not gaps and order.is_empty and scm.is_empty:
            raise UnknownOrder(f"neither {order.service} nor {scm.service} has records of order {order_id}")
        letters, unseen = await self._letters(order_id) if with_dead_letters else ({}, [])
        sequence = hops(
            OrderRecords(
                {each.service: each.events for each in (order, scm)},
                {**order.consumers, **scm.consumers},
                letters,
            )
        )
        times = [hop.at for hop in sequence if hop.at]
        return Lineage(
            order_id=order_id,
            order=order.now,
            fulfilment=scm.now,
            started_at=times[0] if times else None,
            total_ms=distance(times[0], times[-1]) if times else None,
            hops=sequence,
            gaps=[*gaps, *unseen],
        )

    async def _letters(self, order_id: str) -> tuple[dict[str, list[DeadLetter]], list[Gap]]:
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
                        Gap(service=scan.queue, reason=scan.incomplete)
                        for scan in browsed.queues
                        if scan.incomplete
                    ]
        except transient_errors() as error:
            return {}, [Gap(service="dead letters", reason=f"SNS or SQS unavailable: {error}")]
        return letters, gaps


async def _records(client: ServiceClient, order_id: str) -> ServiceRecords:
    try:
        now, events, progress = await asyncio.gather(
            _read(client, f"/orders/{order_id}", AggregateNow),
            _read(client, f"/orders/{order_id}/events", Events),
            _read(client, "/progress", ServiceProgress),
        )
    except ServiceUnavailable as error:
        return ServiceRecords(client.name, gap=Gap(service=client.name, reason=str(error)))
    consumers = {each.queue: set(each.handlers) for each in progress.listeners} if progress else {}
    return ServiceRecords(client.name, now, events or Events(), consumers)


async def _read(client: ServiceClient, path: str, model: type[M]) -> M | None:
    answer = await client.find(path)
    try:
        return None if answer is None else model.model_validate(answer)
    except ValidationError as error:
        raise ServiceUnavailable(f"{client}: unexpected response body for {path}") from error
