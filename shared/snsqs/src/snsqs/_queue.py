"""Queue: what a listener needs of a queue, whichever transport it is on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types_aiobotocore_sqs.type_defs import MessageAttributeValueOutputTypeDef

    Attribute = MessageAttributeValueOutputTypeDef
else:
    Attribute = dict

RawAttributes = Mapping[str, Attribute]
"""Message attributes as SQS has them: by name, with `DataType` and `StringValue` or `BinaryValue`."""

MAX_BATCH_SIZE = 10
"""The most that one call receives, deletes, sends, or changes the visibility of."""


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A message as the queue gave it out, leased to us until its visibility timeout ends."""

    message_id: str
    receipt_handle: str
    body: str
    raw_attributes: RawAttributes
    receive_count: int
    """How often the queue has given it out, this time included (SQS's ApproximateReceiveCount)."""
    leased_at: float
    """The event loop's time when the call returned; a long poll is given its messages at its end."""
    group: str | None = None
    """The message group of a FIFO queue."""
    sent_at: datetime | None = None
    """When it was sent. What SQS itself moved to a standard dead-letter queue keeps its first time."""
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def attributes(self) -> dict[str, str]:
        """The message attributes that are text."""
        return {
            name: value["StringValue"]
            for name, value in self.raw_attributes.items()
            if "StringValue" in value
        }


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What a batch call did not do, by receipt handle. What is in neither set is done."""

    gone: frozenset[str] = frozenset()
    """The receipt handle is no longer ours: deleted already, or given to another consumer."""
    failed: frozenset[str] = frozenset()
    """It could not be done now; trying again may help."""


_DAYS = 24 * 60 * 60


@dataclass(frozen=True)
class QueueSettings:
    """What a listener's queue is made with; seconds."""

    visibility: int = 30
    max_receive_count: int = 5
    retention: int = 4 * _DAYS
    dead_letter_retention: int = 14 * _DAYS


class Queue(Protocol):
    """One queue. Calls raise `aws.transient_errors` errors when the queue cannot be reached or refuses."""

    @property
    def name(self) -> str: ...

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        """Up to `limit` messages, at once when there are any, or none after `wait` seconds; each is given
        to nobody else for `visibility` seconds."""
        ...

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        """Deletes up to ten messages; one that is already gone counts as deleted."""
        ...

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        """Lets up to ten leases, by receipt handle, end so many seconds from now (0 to 43,200)."""
        ...

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        """Sends one message and returns its id. Group and deduplication id are for FIFO queues."""
        ...


@dataclass(frozen=True)
class ListenerQueues:
    """A listener's queue and its dead-letter queue, both known to exist."""

    queue: Queue
    dead_letters: Queue


def is_fifo(name: str) -> bool:
    """SQS and SNS know FIFO queues and topics by their names."""
    return name.endswith(".fifo")
