"""Lineage: the way of one order's events, hop by hop, read off what each service wrote down about it."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError
from snsqs import Aggregate, WireModel
from snsqs.aws import transient_errors

from services.console.recovery.recovery import Found
from services.console.watch.dead_letters import DeadLetters
from services.console.watch.hop import Events, Hop, Known, distance, hops
from shared.operations.progress import ServiceProgress
from shared.runtime.service_client import ServiceClient, ServiceUnavailable

M = TypeVar("M", bound=WireModel)


class UnknownOrder(Exception):
    """Every service was asked, and none has heard of the order."""


class Gap(WireModel):
    """A service or a queue that could not be asked, or not for everything; what it knows is missing."""

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
    consumers: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Its queues, and the event types that their handlers take."""
    gap: Gap | None = None

    @property
    def is_empty(self) -> bool:
        return self.now is None and not self.events.published and not self.events.received


async def lineage(
    order_id: str, order: ServiceClient, scm: ServiceClient, dead_letters: DeadLetters | None
) -> Lineage:
    """Asks both services at once, and looks for dead letters if it is given where. Raises UnknownOrder when
    both services answer and neither knows it."""
    told = await asyncio.gather(_ask(order, order_id), _ask(scm, order_id))
    gaps = [each.gap for each in told if each.gap]
    if not gaps and all(each.is_empty for each in told):
        raise UnknownOrder(f"neither {order.name} nor {scm.name} has heard of an order {order_id}")
    found, unseen = await _letters(dead_letters, order_id)
    known = Known(
        {each.service: each.events for each in told},
        {queue: types for each in told for queue, types in each.consumers.items()},
        {queue: each.letters for queue, each in found.items()},
    )
    way = hops(known)
    times = [hop.at for hop in way if hop.at]
    return Lineage(
        order_id=order_id,
        order=told[0].now,
        fulfilment=told[1].now,
        started_at=times[0] if times else None,
        total_ms=distance(times[0], times[-1]) if times else None,
        hops=way,
        gaps=[*gaps, *unseen],
    )


async def _ask(neighbour: ServiceClient, order_id: str) -> _Told:
    try:
        now, events, progress = await asyncio.gather(
            _read(neighbour, f"/orders/{order_id}", AggregateNow),
            _read(neighbour, f"/orders/{order_id}/events", Events),
            _read(neighbour, "/progress", ServiceProgress),
        )
    except ServiceUnavailable as error:
        return _Told(neighbour.name, gap=Gap(service=neighbour.name, reason=str(error)))
    consumers = {each.queue: set(each.handlers) for each in progress.listeners} if progress else {}
    return _Told(neighbour.name, now, events or Events(), consumers)


async def _letters(dead_letters: DeadLetters | None, order_id: str) -> tuple[dict[str, Found], list[Gap]]:
    """By the queue where they died; and what could not be seen."""
    try:
        found = await dead_letters.of(order_id) if dead_letters else {}
    except transient_errors() as error:
        return {}, [Gap(service="dead letters", reason=f"SNS and SQS cannot be asked: {error}")]
    looks = [look for each in found.values() for look in each.queues]
    return found, [Gap(service=look.queue, reason=look.incomplete) for look in looks if look.incomplete]


async def _read(neighbour: ServiceClient, path: str, model: type[M]) -> M | None:
    answer = await neighbour.find(path)
    try:
        return None if answer is None else model.model_validate(answer)
    except ValidationError as error:
        raise ServiceUnavailable(f"{neighbour}: {path} is not answered as it should be") from error
