"""Topology: looks up, and in development creates, the resources that bindings require."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from snsqs._address import is_name, parse_address
from snsqs._arguments import require_instance
from snsqs._binding import Binding
from snsqs._errors import TopologyError
from snsqs._queue import ListenerQueues
from snsqs._settings import QueueSettings
from snsqs._sqs import SqsQueue
from snsqs.aws import AwsClients, error_code
from snsqs.topology._desired import Account, Desired, topic_type
from snsqs.topology._drift import differences, drift, set_differences
from snsqs.topology._existing import Attributes, FoundQueue, FoundSubscription
from snsqs.topology._lookup import Lookup
from snsqs.topology._queue_policy import with_tls_rule

if TYPE_CHECKING:
    from types_aiobotocore_sqs.literals import QueueAttributeNameType

    QueueAttributes = dict[QueueAttributeNameType, str]

log = logging.getLogger(__name__)

_QUEUE_EXISTS = {"QueueAlreadyExists", "QueueNameExists"}
_SUBSCRIPTION_EXISTS = {"InvalidParameter", "InvalidParameterException"}
"""Codes for other invalid parameters as well."""


class Topology:
    """Topics, queues and subscriptions, of the account of the clients or named by ARN or URL.

    With `create` (development) a missing resource is created and a different one corrected. Without
    (production) everything is only looked up, because infrastructure has its own tools there; a missing
    resource is a TopologyError that names it, and so is a setting that the queue contradicts. `settings`
    apply to all queues; those of a Binding take precedence. A topic or queue that is given by ARN or URL has
    to exist, also in development; a queue of another account is never changed, and a difference is an error.

    Creating reads first and writes only differences: services start often, and on AWS writes are throttled
    early and visible late (a queue's attributes after up to 60 s). Several processes may create at once.
    Temporary errors of AWS, such as a queue's name being reserved for 60 s after its deletion, are raised
    as the SDK raises them; call again.
    """

    def __init__(self, clients: AwsClients, *, create: bool, settings: QueueSettings | None = None) -> None:
        self._clients = clients
        self._lookup = Lookup(clients)
        self._create = create
        require_instance(settings, QueueSettings, "Topology: settings")
        self.settings = settings or QueueSettings()

    async def topic_arn(self, topic: str) -> str:
        """Return the ARN of a topic, given its name or ARN. Raises TopologyError when it is missing."""
        arn = await self._lookup.topic(topic)
        if arn is None and self._create and is_name(topic):
            created = await self._clients.sns.create_topic(Name=topic, Attributes=topic_type(topic))
            arn = created["TopicArn"]
        if arn is None:
            raise _missing("topic", topic)
        return arn

    async def queue_url(self, queue: str) -> str:
        """Return the URL of an existing queue, given its name or ARN, for a `SqsChannel`. Raises
        TopologyError when it is missing: its consumer creates it."""
        found = await self._lookup.queue(queue)
        if found is None:
            raise _missing("queue", queue)
        return found.url

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        """Return the binding's queues. Raises TopologyError when a resource is missing, in production also
        when a setting differs from the queue's, and for a queue of another account when anything differs."""
        binding = self._with_settings(binding)
        if self._create:
            return await self._create_all(binding)
        return await self._existing_queues(binding)

    async def _existing_queues(self, binding: Binding) -> ListenerQueues:
        existing = await self._lookup.existing(replace(binding, topics={}))
        if existing.queue is None:
            raise _missing("queue", binding.queue_address or binding.queue)
        if existing.dead_letter_queue is None:
            raise _missing("queue", existing.binding.dead_letter_address)
        if differing := set_differences(existing):
            raise TopologyError(
                f"queue {binding.queue} differs from its settings: {'; '.join(differing)}. Change the queue, "
                "or the setting; a setting that is not set leaves the queue as it is"
            )
        return _listener_queues(existing.queue, existing.dead_letter_queue)

    async def drift(self, binding: Binding) -> list[str]:
        """Return a sentence for each resource that is missing and each attribute that differs.

        Reads only. Raises the errors of the SDK.
        """
        return drift(await self._lookup.existing(self._with_settings(binding)))

    def _with_settings(self, binding: Binding) -> Binding:
        return replace(binding, settings=binding.settings.or_else(self.settings))

    async def _create_all(self, binding: Binding) -> ListenerQueues:
        arns = {topic: await self.topic_arn(topic) for topic in binding.topics}
        found = await self._lookup.described_queue(binding.queue_address or binding.queue)
        if binding.queue_address:
            if found is None:
                raise _missing("queue", binding.queue_address)
            if await self._lookup.is_foreign(binding, found):
                return await self._foreign_queues(binding)
        if found is not None:
            binding = found.adopted_by(binding)
        desired = Desired(binding, Account())
        dead_letters = await self._create_queue(
            binding.dead_letter_address,
            desired.dead_letter_queue,
            lambda _: desired.existing_dead_letter_queue,
            desired.tags,
        )
        account = await self._account(dead_letters.queue)
        desired = Desired(binding, account, self._lookup.home(arns, default=account))
        queue = await self._create_queue(
            binding.queue_address or binding.queue, desired.queue, desired.existing_queue, desired.tags
        )
        for topic, arn in arns.items():
            await self._create_subscription(arn, desired.queue_arn, desired.subscriptions[topic])
            about = {"queue": binding.queue, "topic": topic, "types": binding.topics[topic]}
            log.info("queue subscribed", extra=about)
        return _listener_queues(queue, dead_letters)

    async def _foreign_queues(self, binding: Binding) -> ListenerQueues:
        """Return the queues of another account: only that may create, change and subscribe them."""
        existing = await self._lookup.existing(binding)
        if found := drift(existing):
            raise TopologyError(
                f"queue {binding.queue} belongs to account {existing.account.id}, which has to change it: "
                f"{'; '.join(found)}"
            )
        assert existing.queue is not None
        assert existing.dead_letter_queue is not None
        return _listener_queues(existing.queue, existing.dead_letter_queue)

    async def _create_queue(
        self,
        address: str,
        desired: "QueueAttributes",
        existing: "Callable[[Attributes], QueueAttributes]",
        tags: Mapping[str, str],
    ) -> FoundQueue:
        """Create a queue, or correct an existing one. `existing` returns the attributes of a queue that was
        found with others."""
        found = await self._lookup.described_queue(address)
        if found is None:
            named = parse_address(address, "sqs")
            sqs = (await self._clients.in_region(named.region)).sqs
            try:
                created = await sqs.create_queue(QueueName=named.name, Attributes=desired, tags=tags)
                return FoundQueue(SqsQueue(sqs, named.name, created["QueueUrl"]), _by_name(desired))
            except Exception as error:
                # Another process created it in the meantime, with other attributes.
                exists = error_code(error) in _QUEUE_EXISTS
                if not exists or (found := await self._lookup.described_queue(address)) is None:
                    raise
        sqs, url = found.queue.client, found.queue.url
        if changes := _changes(existing(found.attributes), found.attributes):
            await sqs.set_queue_attributes(QueueUrl=url, Attributes=changes)
        if tags and not tags.items() <= (await self._lookup.tags(found.queue)).items():
            await sqs.tag_queue(QueueUrl=url, Tags=tags)
        return FoundQueue(found.queue, {**found.attributes, **_by_name(changes)})

    async def _create_subscription(
        self, topic_arn: str, queue_arn: str, attributes: Mapping[str, str]
    ) -> None:
        found = await self._lookup.subscription(topic_arn, queue_arn)
        if found is None and (found := await self._subscribe(topic_arn, queue_arn, attributes)) is None:
            return
        sns = await self._lookup.sns_of(topic_arn)
        for name in differences(attributes, found.attributes):
            await sns.set_subscription_attributes(
                SubscriptionArn=found.arn, AttributeName=name, AttributeValue=attributes[name]
            )

    async def _subscribe(
        self, topic_arn: str, queue_arn: str, attributes: Mapping[str, str]
    ) -> FoundSubscription | None:
        """Create the subscription, with its filter from the start, and look it up.

        Where another process was faster, AWS rejects other attributes, and local servers ignore them. None
        when SNS does not list it yet.
        """
        sns = await self._lookup.sns_of(topic_arn)
        try:
            await sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes)
        except Exception as error:
            exists = error_code(error) in _SUBSCRIPTION_EXISTS
            found = await self._lookup.subscription(topic_arn, queue_arn) if exists else None
            if found is None:
                raise
            return found
        return await self._lookup.subscription(topic_arn, queue_arn)

    async def _account(self, queue: SqsQueue) -> Account:
        answer = await queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])
        return Account.from_arn(answer["Attributes"]["QueueArn"])


def _changes(desired: "QueueAttributes", found: Attributes) -> "QueueAttributes":
    changes = {name: desired[name] for name in differences(desired, found)}
    if "Policy" in changes:
        changes["Policy"] = with_tls_rule(desired["Policy"], found.get("Policy", ""))
    return changes


def _by_name(attributes: "QueueAttributes") -> dict[str, str]:
    return {str(name): value for name, value in attributes.items()}


def _listener_queues(queue: FoundQueue, dead_letters: FoundQueue) -> ListenerQueues:
    return ListenerQueues(
        queue.queue,
        dead_letters.queue,
        visibility=queue.visibility,
        max_receive_count=queue.max_receive_count,
        retention=queue.retention,
        dead_letter_retention=dead_letters.retention,
    )


def _missing(what: str, address: str) -> TopologyError:
    where = " in this account and region; create it first" if is_name(address) else "; create it first"
    return TopologyError(f"the {what} {address} does not exist{where}")
