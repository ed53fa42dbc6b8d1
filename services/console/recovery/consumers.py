"""Consumers: the services that listen to a topic, and their state."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from services.console.recovery.proof import Deliveries
from services.console.registry import RegisteredService
from shared.operations.checksum import TABLE_TIMEOUT, StateChecksum
from shared.operations.progress import ServiceProgress
from shared.operations.reconciliation import Consumed, EventCounts
from shared.runtime.service_client import ServiceClient


class Paused(Exception):
    """A listener that has to confirm the replayed events is paused. Resume it first."""


@dataclass(frozen=True)
class Consumer:
    """A service, and the event types of its handlers by queue."""

    service: ServiceClient
    queues: dict[str, frozenset[str]]
    has_checksum: bool

    async def checksum(self) -> StateChecksum:
        answer = await replace(self.service, timeout=TABLE_TIMEOUT).get("/reconciliation/checksum")
        return StateChecksum.model_validate(answer)

    async def consumed(self) -> list[Consumed]:
        """Return the recorded outcomes of these queues."""
        counts = EventCounts.model_validate(await self.service.get("/reconciliation/events"))
        return [each for each in counts.consumed if each.consumer in self.queues]


class Consumers:
    """The consumers of some topics. Methods raise ServiceUnavailable and RequestRejected."""

    def __init__(self, consumers: Sequence[Consumer], foreign_queues: Collection[str] = ()) -> None:
        self._consumers = consumers
        self._foreign_queues = foreign_queues

    @classmethod
    async def find(
        cls,
        topics: Collection[str],
        services: Sequence[RegisteredService],
        client: Callable[[str], ServiceClient],
        subscribed: Collection[str],
    ) -> "Consumers":
        """Find the services that listen to these topics. `subscribed` are the names of all queues that are
        subscribed to them. Raises Paused."""
        found = [
            Consumer(client(each.name), queues, each.latest.has_checksum)
            for each in services
            if (queues := _queues(each, topics))
        ]
        await asyncio.gather(*map(_check_listening, found))
        listened_to = {queue for consumer in found for queue in consumer.queues}
        return cls(found, sorted(set(subscribed) - listened_to))

    @property
    def unchecked(self) -> list[str]:
        """Consumers whose state cannot be compared, in words."""
        without = [each.service.name for each in self._consumers if not each.has_checksum]
        return [
            *(f"{name}, which has no checksum" for name in without),
            *(f"{queue}, a queue that no registered service listens to" for queue in self._foreign_queues),
        ]

    @property
    def queues(self) -> set[str]:
        return {queue for consumer in self._consumers for queue in consumer.queues}

    def deliveries_of(self, event_type: str) -> int:
        """Return the number of queues that an event of this type is delivered to."""
        return sum(event_type in types for consumer in self._consumers for types in consumer.queues.values())

    async def checksums(self) -> dict[str, StateChecksum]:
        """Return the checksum of each service by name."""
        checked = [each for each in self._consumers if each.has_checksum]
        found = await asyncio.gather(*(each.checksum() for each in checked))
        return {each.service.name: state for each, state in zip(checked, found, strict=True)}

    async def deliveries(self) -> Deliveries:
        """Return the outcomes of all recorded deliveries."""
        found = await asyncio.gather(*(each.consumed() for each in self._consumers))
        return Deliveries.total_of(chain.from_iterable(found))


def _queues(service: RegisteredService, topics: Collection[str]) -> dict[str, frozenset[str]]:
    """Return the event types of the service's queues on these topics."""
    return {
        each.queue: frozenset(each.event_types)
        for each in service.queues
        if not set(each.topics).isdisjoint(topics)
    }


async def _check_listening(consumer: Consumer) -> None:
    """Raises Paused."""
    progress = ServiceProgress.model_validate(await consumer.service.get("/progress"))
    paused = [each.queue for each in progress.listeners if each.is_paused and each.queue in consumer.queues]
    if paused:
        raise Paused(f"{consumer.service.name} does not listen to {', '.join(paused)}: resume it first")
