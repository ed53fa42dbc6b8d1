"""Lineage: the way of one order's events, hop by hop, read off what each service wrote down about it."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from services.adapter.console.hop import Events, Hop, distance, hops
from services.adapter.console.neighbour import Away, Neighbour
from shared.domain_event import Aggregate, WireModel

M = TypeVar("M", bound=WireModel)


class UnknownOrder(Exception):
    """Every service was asked, and none has heard of the order."""


class Gap(WireModel):
    """A service that could not be asked; what it knows is missing."""

    service: str
    reason: str


class AggregateNow(Aggregate):
    """What an order, or its fulfilment, has come to. Nothing of the buyer."""

    status: str
    invoice_id: str | None = None
    placed_at: datetime | None = None
    completed_at: datetime | None = None


class Lineage(WireModel):
    """The hops by their times; what has not happened yet comes last."""

    order_id: str
    order: AggregateNow | None
    fulfilment: AggregateNow | None
    started_at: datetime | None
    total_ms: float | None
    """From the first hop to the last one so far."""
    hops: list[Hop]
    gaps: list[Gap]


@dataclass(frozen=True)
class _Told:
    """What one service told."""

    service: str
    now: AggregateNow | None = None
    events: Events = field(default_factory=Events)
    gap: Gap | None = None

    @property
    def is_empty(self) -> bool:
        return self.now is None and not self.events.published and not self.events.received


async def lineage(order_id: str, order: Neighbour, scm: Neighbour) -> Lineage:
    """Asks both services at once. Raises UnknownOrder when both answer and neither knows it."""
    told = await asyncio.gather(_ask(order, order_id), _ask(scm, order_id))
    gaps = [each.gap for each in told if each.gap]
    if not gaps and all(each.is_empty for each in told):
        raise UnknownOrder(f"neither {order.name} nor {scm.name} has heard of an order {order_id}")
    way = hops({each.service: each.events for each in told}, is_complete=not gaps)
    times = [hop.at for hop in way if hop.at]
    return Lineage(
        order_id=order_id,
        order=told[0].now,
        fulfilment=told[1].now,
        started_at=times[0] if times else None,
        total_ms=distance(times[0], times[-1]) if times else None,
        hops=way,
        gaps=gaps,
    )


async def _ask(neighbour: Neighbour, order_id: str) -> _Told:
    try:
        now, events = await asyncio.gather(
            _read(neighbour, f"/orders/{order_id}", AggregateNow),
            _read(neighbour, f"/orders/{order_id}/events", Events),
        )
    except Away as error:
        return _Told(neighbour.name, gap=Gap(service=neighbour.name, reason=str(error)))
    return _Told(neighbour.name, now, events or Events())


async def _read(neighbour: Neighbour, path: str, model: type[M]) -> M | None:
    answer = await neighbour.get(path)
    try:
        return None if answer is None else model.model_validate_json(answer)
    except ValidationError as error:
        raise Away(f"{neighbour.url}{path} is not answered as it should be") from error
