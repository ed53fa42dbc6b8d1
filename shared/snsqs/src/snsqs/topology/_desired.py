"""Desired: the attributes that a Binding requires of SNS and SQS."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snsqs._handler import Binding
from snsqs._queue import DEFAULT_MAX_RECEIVE_COUNT, DEFAULT_VISIBILITY, is_fifo
from snsqs._settings import DEFAULT_DEAD_LETTER_RETENTION, DEFAULT_RETENTION, QueueSettings
from snsqs.headers import TYPE

if TYPE_CHECKING:
    from types_aiobotocore_sqs.literals import QueueAttributeNameType


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
    """Account of the queues; a topic that is named by its ARN may be in another one."""

    @property
    def settings(self) -> QueueSettings:
        return self.binding.settings

    @property
    def topic_arns(self) -> dict[str, str]:
        """ARNs of the topics, by the names in the binding."""
        return {topic: self.account.arn("sns", topic) for topic in self.binding.topics}

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
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": self.queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": arn}},
            }
            for arn in self.topic_arns.values()
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


def queue_type(name: str) -> "dict[QueueAttributeNameType, str]":
    """Return the attribute of a FIFO queue, by its name. It is set at creation and cannot be changed.

    Content-based deduplication is off: the sender sets the id of the event as deduplication id.
    """
    return {"FifoQueue": "true"} if is_fifo(name) else {}


def topic_type(name: str) -> dict[str, str]:
    """Return the attribute of a FIFO topic, by its name."""
    return {"FifoTopic": "true"} if is_fifo(name) else {}
