"""Desired: what a Binding asks of SNS and SQS, in the attributes of their APIs."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snsqs._handler import Binding
from snsqs._queue import QueueSettings, is_fifo
from snsqs.headers import TYPE

if TYPE_CHECKING:
    from types_aiobotocore_sqs.literals import QueueAttributeNameType


@dataclass(frozen=True)
class Account:
    """An account in a region: what an ARN says besides the service and the name.

    What is not known is written as CloudFormation's pseudo parameter, which its `Fn::Sub` fills in.
    """

    region: str = "${AWS::Region}"
    id: str = "${AWS::AccountId}"
    partition: str = "${AWS::Partition}"

    @classmethod
    def of(cls, arn: str) -> "Account":
        """The account that an ARN of a queue or topic names."""
        _, partition, _, region, account, _ = arn.split(":", 5)
        return cls(region, account, partition)

    def arn(self, service: str, name: str) -> str:
        """The ARN of a queue (`sqs`) or topic (`sns`). A name that is an ARN already stays what it is."""
        if name.startswith("arn:"):
            return name
        return f"arn:{self.partition}:{service}:{self.region}:{self.id}:{name}"


@dataclass(frozen=True)
class Desired:
    """One Binding as SNS and SQS have to hold it. Pure: nothing is asked, the same answer every time.

    The attributes are those of CreateQueue and Subscribe, by their names there, values as text.
    """

    binding: Binding
    account: Account
    """Of the queues. The topic's may be another when the binding names the topic by its ARN."""
    settings: QueueSettings = field(default_factory=QueueSettings)

    @property
    def topic_arn(self) -> str:
        return self.account.arn("sns", self.binding.topic)

    @property
    def queue_arn(self) -> str:
        return self.account.arn("sqs", self.binding.queue)

    @property
    def dead_letter_queue_arn(self) -> str:
        return self.account.arn("sqs", self.binding.dead_letter_queue)

    @property
    def queue(self) -> "dict[QueueAttributeNameType, str]":
        """The queue: dead letters after so many receives, and only the topic may send to it."""
        redrive = {
            "deadLetterTargetArn": self.dead_letter_queue_arn,
            "maxReceiveCount": self.settings.max_receive_count,
        }
        only_the_topic = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": self.topic_arn}},
        }
        return {
            **queue_kind(self.binding.queue),
            "VisibilityTimeout": str(self.settings.visibility),
            "MessageRetentionPeriod": str(self.settings.retention),
            "RedrivePolicy": json.dumps(redrive),
            "Policy": json.dumps({"Version": "2012-10-17", "Statement": [only_the_topic]}),
        }

    @property
    def dead_letter_queue(self) -> "dict[QueueAttributeNameType, str]":
        """The dead-letter queue. It is the same in every account."""
        return {
            **queue_kind(self.binding.dead_letter_queue),
            "MessageRetentionPeriod": str(self.settings.dead_letter_retention),
        }

    @property
    def subscription(self) -> dict[str, str]:
        """The queue's subscription to the topic, in the order in which SNS takes changes: a filter policy
        for the body may be nested, and SNS refuses the scope MessageAttributes while it still is."""
        return {
            "RawMessageDelivery": "true",
            "FilterPolicy": json.dumps({TYPE: self.binding.event_types}),
            "FilterPolicyScope": "MessageAttributes",
        }


def queue_kind(name: str) -> "dict[QueueAttributeNameType, str]":
    """FIFO, when the name says so. AWS wants it said at creation, and never changes it afterwards.

    Content-based deduplication stays off: the sender gives the id of the event.
    """
    return {"FifoQueue": "true"} if is_fifo(name) else {}


def topic_kind(name: str) -> dict[str, str]:
    """The same for a topic."""
    return {"FifoTopic": "true"} if is_fifo(name) else {}
