"""Queues of the consumers of the adapter's topics, found by their subscriptions."""

from dataclasses import dataclass

from snsqs import AwsClients
from snsqs.queues import SqsQueue
from snsqs.topology import FoundQueue, Lookup

from services.console.registry import Registry


class UnknownQueue(Exception):
    """There is no queue of this name. Choose one of those that the console lists."""


@dataclass(frozen=True)
class DeadLetterQueue:
    """A dead-letter queue, and the queue whose messages end in it."""

    queue: SqsQueue
    source: SqsQueue
    count: int
    """Messages in it, including those that are in flight. SQS's estimate, up to a minute old on AWS."""
    has_redrive_policy: bool
    """SQS itself moves its messages on when they are received too often, so browsing may move them."""

    @property
    def name(self) -> str:
        return self.queue.name


@dataclass(frozen=True)
class ConsumerQueue:
    """A queue that is subscribed to one of the topics."""

    topic: str
    queue: SqsQueue
    dead_letters: DeadLetterQueue | None
    """None where the queue has no dead-letter queue, or one of another account."""


class QueueFinder:
    """Finds queues with SNS and SQS at each call, because consumers come and go without the console.

    Subscriptions lead to the queues, and redrive policies to the dead-letter queues: no naming rule is relied
    on, and no queue of another system is touched. Methods raise the errors of the SDK, and ServiceUnavailable
    when the topics are not known.
    """

    def __init__(self, clients: AwsClients, registry: Registry) -> None:
        self._lookup = Lookup(clients)
        self._registry = registry

    async def consumers(self) -> list[ConsumerQueue]:
        """Return the queues by topic and name; a queue that is subscribed to two topics is there twice."""
        # One after the other, so that a call that fails leaves no other one running.
        return [queue for topic in await self._registry.topics() for queue in await self._subscribed(topic)]

    async def dead_letter_queues(self) -> list[DeadLetterQueue]:
        """Return the dead-letter queues by name."""
        found = {
            each.dead_letters.name: each.dead_letters for each in await self.consumers() if each.dead_letters
        }
        return [queue for _, queue in sorted(found.items())]

    async def dead_letter_queue(self, name: str) -> DeadLetterQueue:
        """Return one by its own name, or by that of its source. Raises UnknownQueue."""
        for each in await self.dead_letter_queues():
            if name in (each.name, each.source.name):
                return each
        raise UnknownQueue(f"no dead-letter queue {name!r} belongs to a listener of the adapter's topics")

    async def _subscribed(self, topic: str) -> list[ConsumerQueue]:
        found = await self._lookup.subscribed(topic)
        return [ConsumerQueue(topic, each.queue, await self._dead_letters_of(each)) for each in found]

    async def _dead_letters_of(self, source: FoundQueue) -> DeadLetterQueue | None:
        arn = source.dead_letter_queue
        found = await self._lookup.queue_at(arn) if arn else None
        if found is None:
            return None
        has_redrive_policy = found.dead_letter_queue is not None
        return DeadLetterQueue(found.queue, source.queue, _count(found), has_redrive_policy)


def _count(found: FoundQueue) -> int:
    visible, in_flight = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
    return int(found.attributes[visible]) + int(found.attributes[in_flight])
