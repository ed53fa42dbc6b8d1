"""The dead-letter queues, found by who listens to the topics that the adapter publishes to."""

import asyncio
from dataclasses import dataclass

from snsqs import AwsClients
from snsqs.queues import SqsQueue
from snsqs.topology import FoundQueue, Lookup

from services.console.topics import Topics


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

    def __init__(self, clients: AwsClients, topics: Topics) -> None:
        self._lookup = Lookup(clients)
        self._topics = topics

    async def all(self) -> list[DeadLetterQueue]:
        """All of them, by name."""
        listening = await asyncio.gather(*map(self._lookup.subscribed, await self._topics.names()))
        sources = {found.queue.name: found for topic in listening for found in topic}
        found = await asyncio.gather(*map(self._dead_letters_of, sources.values()))
        return sorted((each for each in found if each), key=lambda each: each.name)

    async def named(self, name: str) -> DeadLetterQueue:
        """By its own name, or by that of the queue that it serves. Raises UnknownQueue."""
        for each in await self.all():
            if name in (each.name, each.source.name):
                return each
        raise UnknownQueue(f"no dead-letter queue {name!r} belongs to a listener of the adapter's topics")

    async def _dead_letters_of(self, source: FoundQueue) -> DeadLetterQueue | None:
        """None where the queue has no dead-letter queue, or one of another account."""
        arn = source.dead_letter_queue
        found = await self._lookup.queue_at(arn) if arn else None
        if found is None:
            return None
        passes_on = found.dead_letter_queue is not None
        return DeadLetterQueue(found.queue, source.queue, _count(found), passes_on)


def _count(found: FoundQueue) -> int:
    waiting, held = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
    return int(found.attributes[waiting]) + int(found.attributes[held])
