"""Topology: finds, and in development creates, what the bindings ask for.

In production everything is only looked up: infrastructure is made by its own tools there, and a queue or
topic that is missing is an error that names it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from snsqs._errors import TopologyError
from snsqs._handler import Binding
from snsqs._queue import ListenerQueues, QueueSettings
from snsqs._sqs import SqsQueue
from snsqs.aws import AwsClients, error_code
from snsqs.topology._desired import Account, Desired, topic_kind
from snsqs.topology._drift import Attributes, differences, drift
from snsqs.topology._lookup import FoundSubscription, Lookup
from snsqs.topology._queue_policy import with_tls_rule

if TYPE_CHECKING:
    from types_aiobotocore_sqs.literals import QueueAttributeNameType

    QueueAttributes = dict[QueueAttributeNameType, str]

log = structlog.get_logger(__name__)

_QUEUE_EXISTS = {"QueueAlreadyExists", "QueueNameExists"}
_SUBSCRIPTION_EXISTS = {"InvalidParameter", "InvalidParameterException"}
"""What else may be invalid has this code too."""


class Topology:
    """Finds, and in development creates, what the names stand for.

    Creating reads first and writes only what differs: services start again and again, and on AWS a write
    is throttled early and shows late (a queue's attributes after up to 60 s). It is safe when several start
    at once. What AWS refuses for a while, such as a queue's name for 60 s after its deletion, is raised as
    the SDK raises it, and calling again is right.
    """

    def __init__(self, clients: AwsClients, *, create: bool, settings: QueueSettings | None = None) -> None:
        self._sns = clients.sns
        self._sqs = clients.sqs
        self._lookup = Lookup(clients)
        self._create = create
        self.settings = settings or QueueSettings()

    async def topic_arn(self, name: str) -> str:
        """The ARN of a topic, by its name or its ARN. Raises TopologyError when it is missing."""
        arn = await self._lookup.topic(name)
        if arn is None and self._create and not name.startswith("arn:"):
            arn = (await self._sns.create_topic(Name=name, Attributes=topic_kind(name)))["TopicArn"]
        if arn is None:
            raise _missing("topic", name)
        return arn

    async def check_topic(self, arn: str) -> None:
        """Asks SNS for the topic; raises what the SDK raises when it is missing or SNS does not answer."""
        await self._sns.get_topic_attributes(TopicArn=arn)

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        """The binding's queues, subscribed to its topic. Raises TopologyError when something is missing."""
        if self._create:
            return await self._make(binding)
        return ListenerQueues(
            await self._known_queue(binding.queue), await self._known_queue(binding.dead_letter_queue)
        )

    async def drift(self, binding: Binding) -> list[str]:
        """A sentence for each thing that is missing or not as the binding asks for; none when all is right.
        Reads only. Raises what the SDK raises."""
        existing = await self._lookup.existing(binding)
        return drift(Desired(binding, existing.account, self.settings), existing)

    async def _make(self, binding: Binding) -> ListenerQueues:
        desired = Desired(binding, Account.of(await self.topic_arn(binding.topic)), self.settings)
        dead_letters = await self._make_queue(binding.dead_letter_queue, desired.dead_letter_queue)
        # A topic that is named by its ARN may be another account's; the dead-letter queue never is.
        desired = replace(desired, account=await self._account(dead_letters))
        queue = await self._make_queue(binding.queue, desired.queue)
        await self._make_subscription(desired)
        log.info("listening", queue=binding.queue, topic=binding.topic, types=binding.event_types)
        return ListenerQueues(queue, dead_letters)

    async def _make_queue(self, name: str, wanted: "QueueAttributes") -> SqsQueue:
        found = await self._lookup.described_queue(name)
        if found is None:
            try:
                url = (await self._sqs.create_queue(QueueName=name, Attributes=wanted))["QueueUrl"]
                return SqsQueue(self._sqs, name, url)
            except Exception as error:
                # It exists: another process made it in the meantime, with other attributes.
                exists = error_code(error) in _QUEUE_EXISTS
                if not exists or (found := await self._lookup.described_queue(name)) is None:
                    raise
        if changes := _changes(wanted, found.attributes):
            await self._sqs.set_queue_attributes(QueueUrl=found.queue.url, Attributes=changes)
        return found.queue

    async def _make_subscription(self, desired: Desired) -> None:
        found = await self._lookup.subscription(desired.topic_arn, desired.queue_arn)
        if found is None and (found := await self._subscribe(desired)) is None:
            return
        for name in differences(desired.subscription, found.attributes):
            await self._sns.set_subscription_attributes(
                SubscriptionArn=found.arn, AttributeName=name, AttributeValue=desired.subscription[name]
            )

    async def _subscribe(self, desired: Desired) -> FoundSubscription | None:
        """Makes the subscription, which has its filter from its first moment, and looks it up: where another
        process was faster, AWS refuses other attributes, and local servers leave it as it was. None when
        SNS does not show it yet."""
        try:
            await self._sns.subscribe(
                TopicArn=desired.topic_arn,
                Protocol="sqs",
                Endpoint=desired.queue_arn,
                Attributes=desired.subscription,
            )
        except Exception as error:
            exists = error_code(error) in _SUBSCRIPTION_EXISTS
            found = await self._lookup.subscription(desired.topic_arn, desired.queue_arn) if exists else None
            if found is None:
                raise
            return found
        return await self._lookup.subscription(desired.topic_arn, desired.queue_arn)

    async def _known_queue(self, name: str) -> SqsQueue:
        queue = await self._lookup.queue(name)
        if queue is None:
            raise _missing("queue", name)
        return queue

    async def _account(self, queue: SqsQueue) -> Account:
        answer = await self._sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])
        return Account.of(answer["Attributes"]["QueueArn"])


def _changes(wanted: "QueueAttributes", found: Attributes) -> "QueueAttributes":
    changes = {name: wanted[name] for name in differences(wanted, found)}
    if "Policy" in changes:
        changes["Policy"] = with_tls_rule(wanted["Policy"], found.get("Policy", ""))
    return changes


def _missing(what: str, name: str) -> TopologyError:
    where = "" if name.startswith("arn:") else " in this account and region; create it first"
    return TopologyError(f"the {what} {name} does not exist{where}")
