"""Lookup of existing topics, queues and subscriptions by name, URL or ARN."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snsqs._address import Address, is_name, parse_address
from snsqs._binding import Binding
from snsqs._refusals import is_refused
from snsqs._responses import reading_response
from snsqs._sqs import SqsQueue
from snsqs.aws import AwsClients, is_queue_gone, is_topic_gone
from snsqs.topology._desired import Account
from snsqs.topology._existing import Existing, FoundQueue, FoundSubscription

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient


class Lookup:
    """Read-only lookup. Methods return None for a missing resource and raise the errors of the SDK.

    A topic or queue in another region, by its ARN or URL, is looked up there.
    """

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    async def existing(self, binding: Binding) -> Existing:
        """Return the existing resources of a binding."""
        topic_arns = {topic: await self.topic(topic) for topic in binding.topics}
        address = binding.queue_address or binding.queue
        queue = await self.described_queue(address)
        if queue is not None:
            binding = queue.adopted_by(binding)
        dead_letters = await self.described_queue(binding.dead_letter_address)
        known = next((each.account for each in (queue, dead_letters) if each), None)
        home = self.home(topic_arns, default=None if binding.queue_address else known)
        account = known or home.of_queue(address)
        queue_arn = account.arn("sqs", binding.queue)
        subscriptions = {
            topic: await self.subscription(arn, queue_arn) if arn else None
            for topic, arn in topic_arns.items()
        }
        is_foreign = queue is not None and await self.is_foreign(binding, queue)
        has_tags = binding.settings.tags is not None and not is_foreign  # no other account may read tags
        return Existing(
            binding,
            account,
            topic_arns,
            queue,
            dead_letters,
            {topic: found.attributes if found else None for topic, found in subscriptions.items()},
            await self.tags(queue.queue) if queue and has_tags else None,
            await self.tags(dead_letters.queue) if dead_letters and has_tags else None,
            home,
            is_foreign,
        )

    def home(self, topic_arns: Mapping[str, str | None], *, default: Account | None = None) -> Account:
        """Return account and region of the clients, as far as topics that are given by names tell it."""
        arns = (arn for topic, arn in topic_arns.items() if arn and is_name(topic))
        arn = next(arns, None)
        if arn is not None:
            return Account.from_arn(arn)
        return default or Account(self._clients.sqs.meta.region_name)

    async def is_foreign(self, binding: Binding, found: FoundQueue) -> bool:
        """Return whether the queue of a binding belongs to another account: in the account of the clients its
        name leads to another queue, or none."""
        if not binding.queue_address:
            return False
        try:
            own = await self._url_of(Address(binding.queue, region=found.account.region))
        except Exception as error:
            if is_refused(error):  # permitted for the queue of the other account only
                return True
            raise
        return own is None or parse_address(own, "sqs").account != found.account.id

    async def tags(self, queue: SqsQueue) -> dict[str, str]:
        """Return the tags of a queue."""
        return (await queue.client.list_queue_tags(QueueUrl=queue.url)).get("Tags", {})

    async def topic(self, address: str) -> str | None:
        """Return the ARN of a topic, given its name or ARN."""
        return await (self._topic_named if is_name(address) else self._topic_at)(address)

    async def queue(self, address: str) -> SqsQueue | None:
        """Return a queue, given its name, URL or ARN. AWS finds one for up to a minute after its deletion. A
        URL is used as it is."""
        named = parse_address(address, "sqs")
        url = named.url or await self._url_of(named)
        client = (await self._clients.in_region(named.region)).sqs
        return None if url is None else SqsQueue(client, named.name, url)

    async def _url_of(self, queue: Address) -> str | None:
        sqs = (await self._clients.in_region(queue.region)).sqs
        owner: dict[str, Any] = {"QueueOwnerAWSAccountId": queue.account} if queue.account else {}
        try:
            return (await sqs.get_queue_url(QueueName=queue.name, **owner))["QueueUrl"]
        except Exception as error:
            if is_queue_gone(error):
                return None
            raise

    async def described_queue(self, address: str) -> FoundQueue | None:
        """Return a queue with all its attributes."""
        queue = await self.queue(address)
        if queue is None:
            return None
        try:
            answer = await queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
        except Exception as error:
            if is_queue_gone(error):
                return None
            raise
        with reading_response("GetQueueAttributes"):
            attributes = {str(name): value for name, value in answer["Attributes"].items()}
            if not attributes["QueueArn"].startswith("arn:"):
                raise ValueError(f"QueueArn is {attributes['QueueArn']!r}")
        return FoundQueue(queue, attributes)

    async def subscribed(self, topic: str) -> list[FoundQueue]:
        """Return the queues of this account and region that are subscribed to a topic, by name or ARN."""
        arn = await self.topic(topic)
        queues = await self.subscribed_queues(arn) if arn else []
        return [found for found in await asyncio.gather(*map(self.queue_at, queues)) if found]

    async def queue_at(self, arn: str) -> FoundQueue | None:
        """Return a queue of this account and region with all its attributes; None for any other."""
        found = await self.described_queue(arn.rpartition(":")[2])
        return found if found and found.attributes["QueueArn"] == arn else None

    async def subscription(self, topic_arn: str, queue_arn: str) -> FoundSubscription | None:
        """Return the queue's subscription to a topic, which must exist, with all its attributes."""
        arn = await self._subscription_in_list(topic_arn, queue_arn)
        if arn is None:
            return None
        sns = await self.sns_of(topic_arn)
        try:
            answer = await sns.get_subscription_attributes(SubscriptionArn=arn)
        except Exception as error:
            if is_topic_gone(error):  # the code is the same for a subscription
                return None
            raise
        return FoundSubscription(arn, answer["Attributes"])

    async def subscribed_queues(self, topic_arn: str) -> list[str]:
        """Return the ARNs of the queues that are subscribed to a topic, which must exist."""
        sns = await self.sns_of(topic_arn)
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
        return sorted(
            [
                subscription["Endpoint"]
                async for page in pages
                for subscription in page["Subscriptions"]
                if subscription.get("Protocol") == "sqs"
            ]
        )

    async def sns_of(self, topic_arn: str) -> "SNSClient":
        """Return the client for a topic and its subscriptions: SNS answers for those of its region only."""
        return (await self._clients.in_region(Account.from_arn(topic_arn).region)).sns

    async def _topic_named(self, name: str) -> str | None:
        """Read the first page of topics. It contains the topic or, by other ARNs, tells the account. All
        pages, which in an account with thousands of topics take longer than a publisher waits, are read only
        where `sns:GetTopicAttributes` is not permitted."""
        is_first = True
        async for page in self._clients.sns.get_paginator("list_topics").paginate():
            arns = [topic["TopicArn"] for topic in page["Topics"]]
            if found := next((arn for arn in arns if arn.endswith(f":{name}")), None):
                return found
            if is_first and arns and page.get("NextToken"):
                try:
                    return await self._topic_at(Account.from_arn(arns[0]).arn("sns", name))
                except Exception as error:
                    if not is_refused(error):
                        raise
            is_first = False
        return None

    async def _topic_at(self, arn: str) -> str | None:
        sns = await self.sns_of(arn)
        try:
            await sns.get_topic_attributes(TopicArn=arn)
        except Exception as error:
            if is_topic_gone(error):
                return None
            raise
        return arn

    async def _subscription_in_list(self, topic_arn: str, queue_arn: str) -> str | None:
        sns = await self.sns_of(topic_arn)
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
        async for page in pages:
            for subscription in page["Subscriptions"]:
                # A deleted or unconfirmed one is listed with a word in place of its ARN.
                arn = subscription["SubscriptionArn"]
                if subscription.get("Endpoint") == queue_arn and arn.startswith("arn:"):
                    return arn
        return None
