"""Consumers: the services that listen to a topic, and their state."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from services.console.recovery.proof import Deliveries
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

    async def checksum(self) -> StateChecksum:
        answer = await replace(self.service, timeout=TABLE_TIMEOUT).get("/reconciliation/checksum")
        return StateChecksum.model_validate(answer)

    async def consumed(self) -> list[Consumed]:
        """Return the recorded outcomes of these queues."""
        counts = EventCounts.model_validate(await self.service.get("/reconciliation/events"))
        return [each for each in counts.consumed if each.consumer in self.queues]


class Consumers:
    """The consumers of some topics. Methods raise ServiceUnavailable and RequestRejected."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = consumers

    @classmethod
    async def find(cls, topics: Collection[str], services: Sequence[ServiceClient]) -> "Consumers":
        """Find them by the listeners that the services report. Raises Paused."""
        progress = await asyncio.gather(*(_progress(service) for service in services))
        found = [_consumer(*each, topics) for each in zip(services, progress, strict=True)]
        return cls([each for each in found if each.queues])

    @property
    def queues(self) -> set[str]:
        return {queue for consumer in self._consumers for queue in consumer.queues}

    def deliveries_of(self, event_type: str) -> int:
        """Return the number of queues that an event of this type is delivered to."""
        return sum(event_type in types for consumer in self._consumers for types in consumer.queues.values())

    async def checksums(self) -> dict[str, StateChecksum]:
        """Return the checksum of each service by name."""
        found = await asyncio.gather(*(each.checksum() for each in self._consumers))
        return {each.service.name: state for each, state in zip(self._consumers, found, strict=True)}

    async def deliveries(self) -> Deliveries:
        """Return the outcomes of all recorded deliveries."""
        found = await asyncio.gather(*(each.consumed() for each in self._consumers))
        return Deliveries.total_of(chain.from_iterable(found))


async def _progress(service: ServiceClient) -> ServiceProgress:
    return ServiceProgress.model_validate(await service.get("/progress"))


def _consumer(service: ServiceClient, progress: ServiceProgress, topics: Collection[str]) -> Consumer:
    listeners = [each for each in progress.listeners if each.topic in topics]
    if paused := [each.queue for each in listeners if each.is_paused]:
        raise Paused(f"{service.name} does not listen to {', '.join(paused)}: resume it first")
    return Consumer(service, {each.queue: frozenset(each.handlers) for each in listeners})
