"""Topology: the topics, queues and subscriptions that the handlers need, derived from their bindings.

In development they are created, idempotently and safely when several processes start at once. In
production they are only looked up: infrastructure is made by its own tools there, and one that is missing
is an error that names it.
"""

import json
from typing import TYPE_CHECKING

import structlog
from botocore.exceptions import ClientError

from shared.messaging.aws import AwsClients, error_code, is_queue_gone, is_topic_gone
from shared.messaging.errors import TopologyError
from shared.messaging.handler import Binding
from shared.messaging.message import TYPE
from shared.messaging.queue import ListenerQueues, QueueSettings, is_fifo
from shared.messaging.sqs import SqsQueue

if TYPE_CHECKING:
    from types_aiobotocore_sqs.literals import QueueAttributeNameType

log = structlog.get_logger(__name__)


class Topology:
    """Finds, and in development creates, what the names stand for."""

    def __init__(self, clients: AwsClients, *, create: bool, settings: QueueSettings | None = None) -> None:
        self._sns = clients.sns
        self._sqs = clients.sqs
        self._create = create
        self.settings = settings or QueueSettings()

    async def topic_arn(self, name: str) -> str:
        """The ARN of a topic, by its name or its ARN. Raises TopologyError when it is missing."""
        if self._create and not name.startswith("arn:"):
            attributes = {"FifoTopic": "true"} if is_fifo(name) else {}
            return (await self._sns.create_topic(Name=name, Attributes=attributes))["TopicArn"]
        return await self._find_topic(name)

    async def check_topic(self, arn: str) -> None:
        """Asks SNS for the topic; raises what the SDK raises when it is missing or SNS does not answer."""
        await self._sns.get_topic_attributes(TopicArn=arn)

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        """The binding's queues, subscribed to its topic. Raises TopologyError when something is missing."""
        if not self._create:
            return ListenerQueues(
                await self._find_queue(binding.queue), await self._find_queue(binding.dead_letter_queue)
            )
        topic_arn = await self.topic_arn(binding.topic)
        dead_letters = await self._create_queue(
            binding.dead_letter_queue, {"MessageRetentionPeriod": str(self.settings.dead_letter_retention)}
        )
        queue = await self._create_queue(
            binding.queue, await self._queue_attributes(binding, topic_arn, dead_letters)
        )
        await self._subscribe(binding, topic_arn, await self._arn(queue))
        log.info("listening", queue=binding.queue, topic=binding.topic, types=binding.event_types)
        return ListenerQueues(queue, dead_letters)

    async def _queue_attributes(
        self, binding: Binding, topic_arn: str, dead_letters: SqsQueue
    ) -> "dict[QueueAttributeNameType, str]":
        dead_letter_arn = await self._arn(dead_letters)
        redrive = {"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": self.settings.max_receive_count}
        only_the_topic = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": dead_letter_arn.removesuffix(binding.dead_letter_queue) + binding.queue,
                    "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
                }
            ],
        }
        return {
            "VisibilityTimeout": str(self.settings.visibility),
            "MessageRetentionPeriod": str(self.settings.retention),
            "RedrivePolicy": json.dumps(redrive),
            "Policy": json.dumps(only_the_topic),
        }

    async def _create_queue(self, name: str, attributes: "dict[QueueAttributeNameType, str]") -> SqsQueue:
        # Creating with attributes fails where the queue exists with others, so they are set afterwards.
        kind: dict[QueueAttributeNameType, str] = {"FifoQueue": "true"} if is_fifo(name) else {}
        url = (await self._sqs.create_queue(QueueName=name, Attributes=kind))["QueueUrl"]
        await self._sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        return SqsQueue(self._sqs, name, url)

    async def _subscribe(self, binding: Binding, topic_arn: str, queue_arn: str) -> None:
        wanted = {
            "RawMessageDelivery": "true",
            "FilterPolicyScope": "MessageAttributes",
            "FilterPolicy": json.dumps({TYPE: binding.event_types}),
        }
        # A new subscription has its filter from its first moment; an old one is brought to it.
        try:
            answer = await self._sns.subscribe(
                TopicArn=topic_arn,
                Protocol="sqs",
                Endpoint=queue_arn,
                Attributes=wanted,
                ReturnSubscriptionArn=True,
            )
            subscription_arn = answer["SubscriptionArn"]
        except ClientError as error:
            if error_code(error) not in ("InvalidParameter", "InvalidParameterException"):
                raise
            subscription_arn = await self._subscription_of(topic_arn, queue_arn)
        existing = (await self._sns.get_subscription_attributes(SubscriptionArn=subscription_arn))[
            "Attributes"
        ]
        for name, value in wanted.items():
            if existing.get(name) != value:
                await self._sns.set_subscription_attributes(
                    SubscriptionArn=subscription_arn, AttributeName=name, AttributeValue=value
                )

    async def _subscription_of(self, topic_arn: str, queue_arn: str) -> str:
        pages = self._sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
        async for page in pages:
            for subscription in page["Subscriptions"]:
                if subscription.get("Endpoint") == queue_arn:
                    return subscription["SubscriptionArn"]
        raise TopologyError(f"{queue_arn} has no subscription to {topic_arn}")

    async def _find_topic(self, name: str) -> str:
        if name.startswith("arn:"):
            try:
                await self.check_topic(name)
            except ClientError as error:
                if is_topic_gone(error):
                    raise TopologyError(f"the topic {name} does not exist") from error
                raise
            return name
        async for page in self._sns.get_paginator("list_topics").paginate():
            for topic in page["Topics"]:
                if topic["TopicArn"].endswith(f":{name}"):
                    return topic["TopicArn"]
        raise TopologyError(f"the topic {name} does not exist in this account and region; create it first")

    async def _find_queue(self, name: str) -> SqsQueue:
        try:
            return SqsQueue(self._sqs, name, (await self._sqs.get_queue_url(QueueName=name))["QueueUrl"])
        except ClientError as error:
            if is_queue_gone(error):
                message = f"the queue {name} does not exist in this account and region; create it first"
                raise TopologyError(message) from error
            raise

    async def _arn(self, queue: SqsQueue) -> str:
        answer = await self._sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]
