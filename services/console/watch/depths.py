"""Depths of the consumers' queues and of their dead-letter queues."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from snsqs.aws import transient_errors

from services.console.queues import ConsumerQueue, QueueFinder
from shared.runtime.service_client import ServiceUnavailable

_TIMEOUT = 2.0
_MAX_AGE = 30.0
"""Seconds; subscriptions change with deployments, depths with every message."""


@dataclass(frozen=True)
class Depth:
    """Depth of one queue, as SQS estimates it. Null where SQS did not answer."""

    queue: str
    topic: str
    dead_letter_queue: str | None
    waiting: int | None = None
    in_flight: int | None = None
    dead_letters: int | None = None
    trouble: str | None = None


class Depths:
    """Reads depths with one call per queue; which queues there are is remembered for 30 seconds."""

    def __init__(self, finder: QueueFinder) -> None:
        self._finder = finder
        self._queues: list[ConsumerQueue] = []
        self._found_at = float("-inf")

    async def all(self) -> list[Depth]:
        """Return the depths by topic and queue. Errors of SNS and SQS are in `trouble`, none is raised."""
        now = asyncio.get_running_loop().time()
        if now - self._found_at > _MAX_AGE or not self._queues:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    self._queues = await self._finder.consumers()
                self._found_at = now
            except ServiceUnavailable as error:
                return [_depth(each, trouble=str(error)) for each in self._queues]
            except transient_errors() as error:
                return [_depth(each, trouble=_reason(error)) for each in self._queues]
        return list(await asyncio.gather(*map(self._measured, self._queues)))

    async def count(self, queues: Collection[str]) -> int:
        """Return the number of messages in these queues, visible or in flight; 0 for one that SQS does not
        report."""
        depths = [each for each in await self.all() if each.queue in queues]
        return sum((each.waiting or 0) + (each.in_flight or 0) for each in depths)

    async def _measured(self, each: ConsumerQueue) -> Depth:
        try:
            async with asyncio.timeout(_TIMEOUT):
                waiting, in_flight = await each.queue.depth()
                dead_letters = sum(await each.dead_letters.queue.depth()) if each.dead_letters else None
        except transient_errors() as error:
            return _depth(each, trouble=_reason(error))
        return _depth(each, waiting=waiting, in_flight=in_flight, dead_letters=dead_letters)


def _depth(each: ConsumerQueue, **known: Any) -> Depth:
    dead_letter_queue = each.dead_letters.name if each.dead_letters else None
    return Depth(each.queue.name, each.topic, dead_letter_queue, **known)


def _reason(error: Exception) -> str:
    return f"SNS/SQS: {error}" if str(error) else f"SNS/SQS: no answer within {_TIMEOUT:g} s"
