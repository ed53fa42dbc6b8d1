"""Topology: looks up, and in development creates, the resources that bindings require."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from snsqs._errors import TopologyError
from snsqs._handler import Binding
from snsqs._queue import ListenerQueues
from snsqs._settings import QueueSettings
from snsqs._sqs import SqsQueue
from snsqs.aws import AwsClients, error_code
from snsqs.topology._desired import Account, Desired, topic_type
from snsqs.topology._drift import Attributes, differences, drift, set_differences
from snsqs.topology._lookup import FoundQueue, FoundSubscription, Lookup
from snsqs.topology._queue_policy import with_tls_rule

if TYPE_CHECKING:
    from types_aiobotocore_sqs.literals import QueueAttributeNameType

    QueueAttributes = dict[QueueAttributeNameType, str]

log = logging.getLogger(__name__)

_QUEUE_EXISTS = {"QueueAlreadyExists", "QueueNameExists"}
_SUBSCRIPTION_EXISTS = {"InvalidParameter", "InvalidParameterException"}
"""Codes for other invalid parameters as well."""


class Topology:
    """Topics, queues and subscriptions of an account.

    With `create` (development) a missing resource is created and a different one corrected. Without
    (production) everything is only looked up, because infrastructure has its own tools there; a missing
    resource is a TopologyError that names it, and so is a setting that the queue contradicts. `settings`
    apply to all queues; those of a Binding take precedence.

    Creating reads first and writes only differences: services start often, and on AWS writes are throttled
    early and visible late (a queue's attributes after up to 60 s). Several processes may create at once.
    Temporary errors of AWS, such as a queue's name being reserved for 60 s after its deletion, are raised
    as the SDK raises them; call again.
    """

    def __init__(self, clients: AwsClients, *, create: bool, settings: QueueSettings | None = None) -> None:
        self._sns = clients.sns
        self._sqs = clients.sqs
        self._lookup = Lookup(clients)
        self._create = create
        self.settings = settings or QueueSettings()

    async def topic_arn(self, name: str) -> str:
        """Return the ARN of a topic, given its name or ARN. Raises TopologyError when it is missing."""
        arn = await self._lookup.topic(name)
        if arn is None and self._create and not name.startswith("arn:"):
            arn = (await self._sns.create_topic(Name=name, Attributes=topic_type(name)))["TopicArn"]
        if arn is None:
            raise _missing("topic", name)
        return arn

    async def queue_url(self, name: str) -> str:
        """Return the URL of an existing queue, for a `SqsChannel`. Raises TopologyError when it is missing:
        its consumer creates it."""
        return (await self._known_queue(name)).url

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        """Return the binding's queues. Raises TopologyError when a resource is missing, and in production
        also when a setting differs from the queue's."""
        binding = self._with_settings(binding)
        if self._create:
            return await self._create_all(binding)
        existing = await self._lookup.existing(replace(binding, topics={}))
        queue = await self._known_queue(binding.queue)
        dead_letters = await self._known_queue(existing.binding.dead_letter_queue)
        if differing := set_differences(Desired(existing.binding, existing.account), existing):
            raise TopologyError(
                f"queue {binding.queue} differs from its settings: {'; '.join(differing)}. Change the queue, "
                "or the setting; a setting that is not set leaves the queue as it is"
            )
        return _listener_queues(FoundQueue(queue, existing.queue or {}), dead_letters)

    async def drift(self, binding: Binding) -> list[str]:
        """Return a sentence for each resource that is missing and each attribute that differs.

        Reads only. Raises the errors of the SDK.
        """
        existing = await self._lookup.existing(self._with_settings(binding))
        return drift(Desired(existing.binding, existing.account), existing)

    def _with_settings(self, binding: Binding) -> Binding:
        return replace(binding, settings=binding.settings.or_else(self.settings))

    async def _create_all(self, binding: Binding) -> ListenerQueues:
        for topic in binding.topics:
            await self.topic_arn(topic)
        found = await self._lookup.described_queue(binding.queue)
        if found is not None:
            binding = found.adopted_by(binding)
        desired = Desired(binding, Account())
        dead_letters = await self._create_queue(
            binding.dead_letter_queue,
            desired.dead_letter_queue,
            lambda _: desired.existing_dead_letter_queue,
            desired.tags,
        )
        desired = replace(desired, account=await self._account(dead_letters.queue))
        queue = await self._create_queue(binding.queue, desired.queue, desired.existing_queue, desired.tags)
        for topic, arn in desired.topic_arns.items():
            await self._create_subscription(arn, desired.queue_arn, desired.subscriptions[topic])
            about = {"queue": binding.queue, "topic": topic, "types": binding.topics[topic]}
            log.info("queue subscribed", extra=about)
        return _listener_queues(queue, dead_letters.queue)

    async def _create_queue(
        self,
        name: str,
        desired: "QueueAttributes",
        existing: "Callable[[Attributes], QueueAttributes]",
        tags: Mapping[str, str],
    ) -> FoundQueue:
        """Create a queue, or correct an existing one. `existing` returns the attributes of a queue that was
        found with others."""
        found = await self._lookup.described_queue(name)
        if found is None:
            try:
                created = await self._sqs.create_queue(QueueName=name, Attributes=desired, tags=tags)
                return FoundQueue(SqsQueue(self._sqs, name, created["QueueUrl"]), _by_name(desired))
            except Exception as error:
                # Another process created it in the meantime, with other attributes.
                exists = error_code(error) in _QUEUE_EXISTS
                if not exists or (found := await self._lookup.described_queue(name)) is None:
                    raise
        if changes := _changes(existing(found.attributes), found.attributes):
            await self._sqs.set_queue_attributes(QueueUrl=found.queue.url, Attributes=changes)
        if tags and not tags.items() <= (await self._lookup.tags(found.queue)).items():
            await self._sqs.tag_queue(QueueUrl=found.queue.url, Tags=tags)
        return FoundQueue(found.queue, {**found.attributes, **_by_name(changes)})

    async def _create_subscription(
        self, topic_arn: str, queue_arn: str, attributes: Mapping[str, str]
    ) -> None:
        found = await self._lookup.subscription(topic_arn, queue_arn)
        if found is None and (found := await self._subscribe(topic_arn, queue_arn, attributes)) is None:
            return
        for name in differences(attributes, found.attributes):
            await self._sns.set_subscription_attributes(
                SubscriptionArn=found.arn, AttributeName=name, AttributeValue=attributes[name]
            )

    async def _subscribe(
        self, topic_arn: str, queue_arn: str, attributes: Mapping[str, str]
    ) -> FoundSubscription | None:
        """Create the subscription, with its filter from the start, and look it up.

        Where another process was faster, AWS rejects other attributes, and local servers ignore them. None
        when SNS does not list it yet.
        """
        try:
            await self._sns.subscribe(
                TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes
            )
        except Exception as error:
            exists = error_code(error) in _SUBSCRIPTION_EXISTS
            found = await self._lookup.subscription(topic_arn, queue_arn) if exists else None
            if found is None:
                raise
            return found
        return await self._lookup.subscription(topic_arn, queue_arn)

    async def _known_queue(self, name: str) -> SqsQueue:
        queue = await self._lookup.queue(name)
        if queue is None:
            raise _missing("queue", name)
        return queue

    async def _account(self, queue: SqsQueue) -> Account:
        answer = await self._sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])
        return Account.from_arn(answer["Attributes"]["QueueArn"])


def _changes(desired: "QueueAttributes", found: Attributes) -> "QueueAttributes":
    changes = {name: desired[name] for name in differences(desired, found)}
    if "Policy" in changes:
        changes["Policy"] = with_tls_rule(desired["Policy"], found.get("Policy", ""))
    return changes


def _by_name(attributes: "QueueAttributes") -> dict[str, str]:
    return {str(name): value for name, value in attributes.items()}


def _listener_queues(queue: FoundQueue, dead_letters: SqsQueue) -> ListenerQueues:
    return ListenerQueues(queue.queue, dead_letters, queue.visibility, queue.max_receive_count)


def _missing(what: str, name: str) -> TopologyError:
    where = "" if name.startswith("arn:") else " in this account and region; create it first"
    return TopologyError(f"the {what} {name} does not exist{where}")
