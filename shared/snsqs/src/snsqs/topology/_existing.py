"""Existing: the resources of a Binding as they were found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from snsqs._binding import Binding
from snsqs._queue import DEFAULT_MAX_RECEIVE_COUNT, DEFAULT_VISIBILITY
from snsqs._settings import DEFAULT_RETENTION
from snsqs._sqs import SqsQueue
from snsqs.topology._desired import Account, Desired

Attributes = Mapping[str, str]
"""Attributes as SNS and SQS return them, which may be more than the desired ones."""


@dataclass(frozen=True)
class FoundQueue:
    """An existing queue and its attributes."""

    queue: SqsQueue
    attributes: Attributes

    @property
    def account(self) -> Account:
        """Account and region that it belongs to."""
        return Account.from_arn(self.attributes["QueueArn"])

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
    def retention(self) -> int:
        """Seconds after which it deletes a message."""
        return int(self.attributes.get("MessageRetentionPeriod", DEFAULT_RETENTION))

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


@dataclass(frozen=True)
class Existing:
    """Existing resources of one binding; None where one is missing."""

    binding: Binding
    """The binding, with the dead-letter queue that the queue has if the settings name none."""
    account: Account
    topic_arns: Mapping[str, str | None]
    """By the names in the binding."""
    queue: FoundQueue | None
    dead_letter_queue: FoundQueue | None
    subscriptions: Mapping[str, Attributes | None]
    """By topic."""
    tags: Mapping[str, str] | None = None
    """Tags of the queue; None where it is missing, or no tags are set."""
    dead_letter_tags: Mapping[str, str] | None = None
    home: Account | None = None
    """Account and region of topics that are not named by an ARN."""
    is_foreign: bool = False
    """The queue belongs to another account, which gives it policy and subscriptions."""

    @property
    def desired(self) -> Desired:
        """Desired state of the binding."""
        return Desired(self.binding, self.account, self.home)

    @property
    def queue_attributes(self) -> Attributes | None:
        return self.queue.attributes if self.queue else None

    @property
    def dead_letter_attributes(self) -> Attributes | None:
        return self.dead_letter_queue.attributes if self.dead_letter_queue else None
