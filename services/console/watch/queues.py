"""Queues: how much lies in the queues that listen to the adapter's topics, and in their dead letters."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

from snsqs import AwsClients
from snsqs.aws import transient_errors
from snsqs.queues import SqsQueue
from snsqs.topology import Lookup

from services.console.topics import Topics
from shared.runtime.service_client import ServiceUnavailable

_MOST = 2.0
_KEPT = 30.0
"""Seconds: who listens changes with deployments, what waits with every message."""


@dataclass(frozen=True)
class Depth:
    """What one queue says of itself; SQS's own estimates. Null where it could not be asked."""

    queue: str
    topic: str
    dead_letter_queue: str | None
    waiting: int | None = None
    in_flight: int | None = None
    dead_letters: int | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class _Listening:
    topic: str
    queue: SqsQueue
    dead_letters: SqsQueue | None


class Queues:
    """Finds the queues by who subscribes to the topics, so it needs no list of them, and sees those of a
    service that is down. Two calls for each when it is asked, and no more."""

    def __init__(self, clients: AwsClients, topics: Topics) -> None:
        self._lookup = Lookup(clients)
        self._topics = topics
        self._found: list[_Listening] = []
        self._found_at = float("-inf")

    async def depths(self) -> list[Depth]:
        """By topic and queue. Raises nothing: what SNS or SQS say instead is the trouble."""
        now = asyncio.get_running_loop().time()
        if now - self._found_at > _KEPT or not self._found:
            try:
                async with asyncio.timeout(_MOST):
                    self._found = [each async for each in self._listening()]
                self._found_at = now
            except ServiceUnavailable as error:
                return [_depth(each, trouble=str(error)) for each in self._found]
            except transient_errors() as error:
                return [_depth(each, trouble=_said(error)) for each in self._found]
        return list(await asyncio.gather(*map(self._measured, self._found)))

    async def held(self, names: Collection[str]) -> int:
        """How many messages are in these queues, waiting or leased; where one cannot be asked, none."""
        depths = [each for each in await self.depths() if each.queue in names]
        return sum((each.waiting or 0) + (each.in_flight or 0) for each in depths)

    async def _listening(self) -> AsyncIterator[_Listening]:
        for topic in await self._topics.names():
            for found in await self._lookup.subscribed(topic):
                arn = found.dead_letter_queue
                dead_letters = await self._lookup.queue_at(arn) if arn else None
                yield _Listening(topic, found.queue, dead_letters.queue if dead_letters else None)

    async def _measured(self, each: _Listening) -> Depth:
        try:
            async with asyncio.timeout(_MOST):
                waiting, in_flight = await each.queue.depth()
                dead_letters = sum(await each.dead_letters.depth()) if each.dead_letters else None
        except transient_errors() as error:
            return _depth(each, trouble=_said(error))
        return _depth(each, waiting=waiting, in_flight=in_flight, dead_letters=dead_letters)


def _depth(each: _Listening, **known: Any) -> Depth:
    dead_letter_queue = each.dead_letters.name if each.dead_letters else None
    return Depth(each.queue.name, each.topic, dead_letter_queue, **known)


def _said(error: Exception) -> str:
    return f"SNS/SQS: {error}" if str(error) else f"SNS/SQS: no answer within {_MOST:g} s"
