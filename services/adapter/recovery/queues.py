"""The dead-letter queues, found by who listens to the topics that the adapter publishes to."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from shared.messaging import AwsClients
from shared.messaging.sqs import SqsQueue
from shared.messaging.topology.lookup import FoundQueue, Lookup


class UnknownQueue(Exception):
    """Nobody who listens to the adapter's topics has this dead-letter queue. Look at the list of them."""


class PassesOn(Exception):
    """The dead-letter queue has a redrive policy of its own: a look into it may move its letters on. Take
    the policy away first."""


@dataclass(frozen=True)
class DeadLetterQueue:
    """A dead-letter queue, and the queue whose messages end in it."""

    queue: SqsQueue
    source: SqsQueue
    count: int
    """What is in it, also what somebody holds just now. SQS's own estimate, up to a minute old on AWS."""
    passes_on: bool
    """It has a redrive policy of its own: a look into it is a receive that may move a message on."""

    @property
    def name(self) -> str:
        return self.queue.name


class Queues:
    """Looks the queues up when it is asked, because consumers come and go without the adapter.

    Subscriptions lead to the queues, and their redrive policies to the dead letters. So no naming rule is
    relied on, and no queue is touched that is another system's. Calls raise what the SDK raises.
    """

    def __init__(self, clients: AwsClients, topics: Sequence[str]) -> None:
        self._lookup = Lookup(clients)
        self._topics = topics

    async def all(self) -> list[DeadLetterQueue]:
        """All of them, by name."""
        listening = await asyncio.gather(*(self._listening(topic) for topic in self._topics))
        arns = sorted({arn for arns in listening for arn in arns})
        found = await asyncio.gather(*(self._dead_letters_of(arn) for arn in arns))
        return sorted((each for each in found if each), key=lambda each: each.name)

    async def named(self, name: str) -> DeadLetterQueue:
        """By its own name, or by that of the queue that it serves. Raises UnknownQueue."""
        for each in await self.all():
            if name in (each.name, each.source.name):
                return each
        raise UnknownQueue(f"no dead-letter queue {name!r} belongs to a listener of the adapter's topics")

    async def _listening(self, topic: str) -> list[str]:
        """The ARNs of the queues that are subscribed to the topic."""
        arn = await self._lookup.topic(topic)
        return await self._lookup.subscribed_queues(arn) if arn else []

    async def _dead_letters_of(self, arn: str) -> DeadLetterQueue | None:
        """None where the queue is gone, has no dead-letter queue, or is another account's."""
        source = await self._described(arn)
        target = json.loads(source.attributes.get("RedrivePolicy", "{}")) if source else {}
        found = await self._described(target["deadLetterTargetArn"]) if target else None
        if source is None or found is None:
            return None
        passes_on = "RedrivePolicy" in found.attributes
        return DeadLetterQueue(found.queue, source.queue, _count(found), passes_on)

    async def _described(self, arn: str) -> FoundQueue | None:
        found = await self._lookup.described_queue(arn.rpartition(":")[2])
        return found if found and found.attributes["QueueArn"] == arn else None


def _count(found: FoundQueue) -> int:
    waiting, held = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
    return int(found.attributes[waiting]) + int(found.attributes[held])
