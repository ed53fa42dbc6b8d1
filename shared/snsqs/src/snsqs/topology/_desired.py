"""Desired: the attributes that a Binding requires of SNS and SQS."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snsqs._address import is_name, parse_address
from snsqs._binding import Binding
from snsqs._queue import DEFAULT_MAX_RECEIVE_COUNT, DEFAULT_VISIBILITY, is_fifo
from snsqs._settings import DEFAULT_DEAD_LETTER_RETENTION, DEFAULT_RETENTION, QueueSettings
from snsqs.headers import TYPE

if TYPE_CHECKING:
    from types_aiobotocore_sqs.literals import QueueAttributeNameType


_DEFAULT_REGIONS = {
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"),
    *("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3"),
    *("ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
}
"""Regions that every account has. All that were added since 2019 are opt-in regions."""


@dataclass(frozen=True)
class Account:
    """An account in a region: the parts of an ARN besides service and name.

    A part that is not known is CloudFormation's pseudo parameter, which its `Fn::Sub` fills in.
    """

    region: str = "${AWS::Region}"
    id: str = "${AWS::AccountId}"
    partition: str = "${AWS::Partition}"

    @classmethod
    def from_arn(cls, arn: str) -> "Account":
        """Return the account of a queue's or topic's ARN."""
        _, partition, _, region, account, _ = arn.split(":", 5)
        return cls(region, account, partition)

    def of_queue(self, address: str) -> "Account":
        """Return the account of a queue: what its address does not name is as here."""
        named = parse_address(address, "sqs")
        return Account(
            named.region or self.region, named.account or self.id, named.partition or self.partition
        )

    def arn(self, service: str, name: str) -> str:
        """Return the ARN of a queue (`sqs`) or topic (`sns`); a name that is an ARN is returned as it is."""
        if name.startswith("arn:"):
            return name
        return f"arn:{self.partition}:{service}:{self.region}:{self.id}:{name}"


@dataclass(frozen=True)
class Desired:
    """Desired state of the resources of one Binding. Pure: a function of its fields, without any call.

    The attributes are those of CreateQueue and Subscribe, with their names, and values as text.
    """

    binding: Binding
    account: Account
    """Account and region of the queues."""
    home: Account | None = None
    """Account and region of topics that are not named by an ARN; by default those of the queues."""

    @property
    def settings(self) -> QueueSettings:
        return self.binding.settings

    @property
    def topic_arns(self) -> dict[str, str]:
        """ARNs of the topics, by the names in the binding."""
        return {topic: self._topic_account(topic).arn("sns", topic) for topic in self.binding.topics}

    def _topic_account(self, topic: str) -> Account:
        return (self.home or self.account) if is_name(topic) else Account.from_arn(topic)

    @property
    def queue_arn(self) -> str:
        return self.account.arn("sqs", self.binding.queue)

    @property
    def dead_letter_queue_arn(self) -> str:
        return self.account.arn("sqs", self.binding.dead_letter_queue)

    @property
    def queue(self) -> "dict[QueueAttributeNameType, str]":
        """Attributes of the queue: its redrive policy, and a policy that allows only the topics to send.

        A work queue has no policy here: its own account may send to it.
        """
        redrive = {
            "deadLetterTargetArn": self.dead_letter_queue_arn,
            "maxReceiveCount": self.settings.max_receive_count or DEFAULT_MAX_RECEIVE_COUNT,
        }
        return {
            **queue_type(self.binding.queue),
            "VisibilityTimeout": str(self.settings.visibility or DEFAULT_VISIBILITY),
            "MessageRetentionPeriod": str(self.settings.retention or DEFAULT_RETENTION),
            **self._encryption,
            "RedrivePolicy": json.dumps(redrive),
            **self._policy,
        }

    @property
    def _policy(self) -> "dict[QueueAttributeNameType, str]":
        allowed = [
            {
                "Effect": "Allow",
                "Principal": {"Service": sns_principal(self._topic_account(topic), self.account)},
                "Action": "sqs:SendMessage",
                "Resource": self.queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": arn}},
            }
            for topic, arn in self.topic_arns.items()
        ]
        return {"Policy": json.dumps({"Version": "2012-10-17", "Statement": allowed})} if allowed else {}

    @property
    def dead_letter_queue(self) -> "dict[QueueAttributeNameType, str]":
        """Attributes of the dead-letter queue, which are the same in every account."""
        return {
            **queue_type(self.binding.dead_letter_queue),
            "MessageRetentionPeriod": str(
                self.settings.dead_letter_retention or DEFAULT_DEAD_LETTER_RETENTION
            ),
            **self._encryption,
        }

    @property
    def tags(self) -> dict[str, str]:
        """Tags of both queues."""
        return dict(self.settings.tags or {})

    @property
    def _encryption(self) -> "dict[QueueAttributeNameType, str]":
        return {} if self.settings.kms_key is None else {"KmsMasterKeyId": self.settings.kms_key}

    def existing_queue(self, found: Mapping[str, str]) -> "dict[QueueAttributeNameType, str]":
        """Attributes of a queue that exists with the attributes `found`: those that are not set stay."""
        desired = self.queue
        if self.settings.visibility is None:
            del desired["VisibilityTimeout"]
        if self.settings.retention is None:
            del desired["MessageRetentionPeriod"]
        count = json.loads(found.get("RedrivePolicy") or "{}").get("maxReceiveCount")
        if self.settings.max_receive_count is None and count is not None:
            redrive = {"deadLetterTargetArn": self.dead_letter_queue_arn, "maxReceiveCount": int(count)}
            desired["RedrivePolicy"] = json.dumps(redrive)
        return desired

    @property
    def existing_dead_letter_queue(self) -> "dict[QueueAttributeNameType, str]":
        """Attributes of a dead-letter queue that exists: those that are not set stay."""
        desired = self.dead_letter_queue
        if self.settings.dead_letter_retention is None:
            del desired["MessageRetentionPeriod"]
        return desired

    @property
    def subscriptions(self) -> dict[str, dict[str, str]]:
        """Attributes of the queue's subscription to each topic, in the order in which SNS accepts changes: a
        filter policy for the body may be nested, and SNS rejects the scope MessageAttributes until it is
        replaced."""
        return {
            topic: {
                "RawMessageDelivery": "true",
                "FilterPolicy": json.dumps({TYPE: list(types)}),
                "FilterPolicyScope": "MessageAttributes",
            }
            for topic, types in self.binding.topics.items()
        }


def sns_principal(topic: Account, queue: Account) -> str:
    """Return the service principal with which SNS delivers from the account of a topic to that of a queue.

    See https://docs.aws.amazon.com/sns/latest/dg/sns-cross-region-delivery.html: a region has to be named if
    a message crosses regions and one of them is an opt-in region.
    """
    is_aws = {topic.partition, queue.partition} <= {"aws", Account.partition}
    crosses = topic.region != queue.region and is_aws
    opt_in = [region for region in (queue.region, topic.region) if region not in _DEFAULT_REGIONS]
    return f"sns.{opt_in[0]}.amazonaws.com" if crosses and opt_in else "sns.amazonaws.com"


def queue_type(name: str) -> "dict[QueueAttributeNameType, str]":
    """Return the attribute of a FIFO queue, by its name. It is set at creation and cannot be changed.

    Content-based deduplication is off: the sender sets the id of the event as deduplication id.
    """
    return {"FifoQueue": "true"} if is_fifo(name) else {}


def topic_type(name: str) -> dict[str, str]:
    """Return the attribute of a FIFO topic, by its name."""
    return {"FifoTopic": "true"} if is_fifo(name) else {}
