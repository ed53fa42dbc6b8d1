"""Consumers: the services that hear the events of a topic, and how they are."""

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
    """A listener that is to show that it has heard everything before is paused. Resume it first."""


@dataclass(frozen=True)
class Consumer:
    """A service, and for each of its queues the types of events that it takes from there."""

    service: ServiceClient
    queues: dict[str, frozenset[str]]

    async def checksum(self) -> StateChecksum:
        answer = await replace(self.service, timeout=TABLE_TIMEOUT).get("/reconciliation/checksum")
        return StateChecksum.model_validate(answer)

    async def consumed(self) -> list[Consumed]:
        """What these queues brought, as far as it is still known."""
        counts = EventCounts.model_validate(await self.service.get("/reconciliation/events"))
        return [each for each in counts.consumed if each.consumer in self.queues]


class Consumers:
    """Those of some topics. Calls raise ServiceUnavailable and RequestRejected."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = consumers

    @classmethod
    async def of(cls, topics: Collection[str], services: Sequence[ServiceClient]) -> "Consumers":
        """Finds them by asking every service what it listens to. Raises Paused."""
        progress = await asyncio.gather(*(_progress(service) for service in services))
        found = [_consumer(*each, topics) for each in zip(services, progress, strict=True)]
        return cls([each for each in found if each.queues])

    @property
    def queues(self) -> set[str]:
        return {queue for consumer in self._consumers for queue in consumer.queues}

    def deliveries_of(self, event_type: str) -> int:
        """To so many queues an event of this type is delivered."""
        return sum(event_type in types for consumer in self._consumers for types in consumer.queues.values())

    async def checksums(self) -> dict[str, StateChecksum]:
        """By service."""
        found = await asyncio.gather(*(each.checksum() for each in self._consumers))
        return {each.service.name: state for each, state in zip(self._consumers, found, strict=True)}

    async def deliveries(self) -> Deliveries:
        """What became of all that they ever got."""
        found = await asyncio.gather(*(each.consumed() for each in self._consumers))
        return Deliveries.of(chain.from_iterable(found))


async def _progress(service: ServiceClient) -> ServiceProgress:
    return ServiceProgress.model_validate(await service.get("/progress"))


def _consumer(service: ServiceClient, progress: ServiceProgress, topics: Collection[str]) -> Consumer:
    listeners = [each for each in progress.listeners if each.topic in topics]
    if paused := [each.queue for each in listeners if each.is_paused]:
        raise Paused(f"{service.name} does not listen to {', '.join(paused)}: resume it first")
    return Consumer(service, {each.queue: frozenset(each.handlers) for each in listeners})
