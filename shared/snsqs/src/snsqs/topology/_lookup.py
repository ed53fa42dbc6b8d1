"""Lookup of existing topics, queues and subscriptions by their names."""

import asyncio
import json
from dataclasses import dataclass, replace

from snsqs._handler import Binding
from snsqs._queue import DEFAULT_MAX_RECEIVE_COUNT, DEFAULT_VISIBILITY
from snsqs._sqs import SqsQueue
from snsqs.aws import AwsClients, is_queue_gone, is_topic_gone
from snsqs.topology._desired import Account
from snsqs.topology._drift import Attributes, Existing


@dataclass(frozen=True)
class FoundQueue:
    """An existing queue and its attributes."""

    queue: SqsQueue
    attributes: Attributes

    @property
    def dead_letter_queue(self) -> str | None:
        """ARN of its dead-letter queue."""
        target = self._redrive_policy.get("deadLetterTargetArn")
        return None if target is None else str(target)

    @property
    def max_receive_count(self) -> int:
        """The count of its redrive policy, or the default where it has none."""
        return int(self._redrive_policy.get("maxReceiveCount", DEFAULT_MAX_RECEIVE_COUNT))

    @property
    def visibility(self) -> int:
        """Its visibility timeout in seconds, or the default where that is 0: a listener needs a lease."""
        return int(self.attributes.get("VisibilityTimeout", 0)) or DEFAULT_VISIBILITY

    @property
    def _redrive_policy(self) -> dict[str, str | int]:
        policy: dict[str, str | int] = json.loads(self.attributes.get("RedrivePolicy") or "{}")
        return policy

    def adopted_by(self, binding: Binding) -> Binding:
        """Return the binding with the dead-letter queue of this queue, if its settings name none."""
        target = self.dead_letter_queue
        if binding.settings.dead_letter_queue or target in (None, self.attributes.get("QueueArn")):
            return binding
        name = str(target).rpartition(":")[2]
        return replace(binding, settings=replace(binding.settings, dead_letter_queue=name))


@dataclass(frozen=True)
class FoundSubscription:
    """A confirmed subscription and its attributes."""

    arn: str
    attributes: Attributes


class Lookup:
    """Read-only lookup. Methods return None for a missing resource and raise the errors of the SDK."""

    def __init__(self, clients: AwsClients) -> None:
        self._sns = clients.sns
        self._sqs = clients.sqs

    async def existing(self, binding: Binding) -> Existing:
        """Return the existing resources of a binding."""
        topic_arns = {topic: await self.topic(topic) for topic in binding.topics}
        queue = await self.described_queue(binding.queue)
        if queue is not None:
            binding = queue.adopted_by(binding)
        dead_letters = await self.described_queue(binding.dead_letter_queue)
        arns = [found.attributes["QueueArn"] for found in (queue, dead_letters) if found]
        arn = next((arn for arn in [*arns, *topic_arns.values()] if arn), None)
        account = Account.from_arn(arn) if arn else Account()
        queue_arn = account.arn("sqs", binding.queue)
        subscriptions = {
            topic: await self.subscription(arn, queue_arn) if arn else None
            for topic, arn in topic_arns.items()
        }
        return Existing(
            binding,
            account,
            topic_arns,
            queue.attributes if queue else None,
            dead_letters.attributes if dead_letters else None,
            {topic: found.attributes if found else None for topic, found in subscriptions.items()},
            await self.tags(queue.queue) if queue and binding.settings.tags else None,
            await self.tags(dead_letters.queue) if dead_letters and binding.settings.tags else None,
        )

    async def tags(self, queue: SqsQueue) -> dict[str, str]:
        """Return the tags of a queue."""
        return (await self._sqs.list_queue_tags(QueueUrl=queue.url)).get("Tags", {})

    async def topic(self, name: str) -> str | None:
        """Return the ARN of a topic, given its name in this account and region, or its ARN."""
        if not name.startswith("arn:"):
            return await self._topic_in_list(name)
        try:
            await self._sns.get_topic_attributes(TopicArn=name)
        except Exception as error:
            if is_topic_gone(error):
                return None
            raise
        return name

    async def queue(self, name: str) -> SqsQueue | None:
        """Return a queue of this account and region. AWS finds one for up to a minute after its deletion."""
        try:
            url = (await self._sqs.get_queue_url(QueueName=name))["QueueUrl"]
        except Exception as error:
            if is_queue_gone(error):
                return None
            raise
        return SqsQueue(self._sqs, name, url)

    async def described_queue(self, name: str) -> FoundQueue | None:
        """Return a queue with all its attributes."""
        queue = await self.queue(name)
        if queue is None:
            return None
        try:
            answer = await self._sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
        except Exception as error:
            if is_queue_gone(error):
                return None
            raise
        return FoundQueue(queue, {str(name): value for name, value in answer["Attributes"].items()})

    async def subscribed(self, topic: str) -> list[FoundQueue]:
        """Return the queues of this account and region that are subscribed to a topic, by name or ARN."""
        arn = await self.topic(topic)
        queues = await self.subscribed_queues(arn) if arn else []
        return [found for found in await asyncio.gather(*map(self.queue_at, queues)) if found]

    async def queue_at(self, arn: str) -> FoundQueue | None:
        """Return a queue with all its attributes; None for one of another account or region as well."""
        found = await self.described_queue(arn.rpartition(":")[2])
        return found if found and found.attributes["QueueArn"] == arn else None

    async def subscription(self, topic_arn: str, queue_arn: str) -> FoundSubscription | None:
        """Return the queue's subscription to a topic, which must exist, with all its attributes."""
        arn = await self._subscription_in_list(topic_arn, queue_arn)
        if arn is None:
            return None
        try:
            answer = await self._sns.get_subscription_attributes(SubscriptionArn=arn)
        except Exception as error:
            if is_topic_gone(error):  # the code is the same for a subscription
                return None
            raise
        return FoundSubscription(arn, answer["Attributes"])

    async def subscribed_queues(self, topic_arn: str) -> list[str]:
        """Return the ARNs of the queues that are subscribed to a topic, which must exist."""
        pages = self._sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
        return sorted(
            [
                subscription["Endpoint"]
                async for page in pages
                for subscription in page["Subscriptions"]
                if subscription.get("Protocol") == "sqs"
            ]
        )

    async def _topic_in_list(self, name: str) -> str | None:
        async for page in self._sns.get_paginator("list_topics").paginate():
            for topic in page["Topics"]:
                if topic["TopicArn"].endswith(f":{name}"):
                    return topic["TopicArn"]
        return None

    async def _subscription_in_list(self, topic_arn: str, queue_arn: str) -> str | None:
        pages = self._sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
        async for page in pages:
            for subscription in page["Subscriptions"]:
                # A deleted or unconfirmed one is listed with a word in place of its ARN.
                arn = subscription["SubscriptionArn"]
                if subscription.get("Endpoint") == queue_arn and arn.startswith("arn:"):
                    return arn
        return None
