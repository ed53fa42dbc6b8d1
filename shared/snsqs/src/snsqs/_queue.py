"""Queue: the calls of a queue that a listener needs, on any transport."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from snsqs._settings import DEFAULT_DEAD_LETTER_RETENTION, DEFAULT_RETENTION

if TYPE_CHECKING:
    from types_aiobotocore_sqs.type_defs import MessageAttributeValueOutputTypeDef

    Attribute = MessageAttributeValueOutputTypeDef
else:
    Attribute = dict

T = TypeVar("T")

RawAttributes = Mapping[str, Attribute]
"""Message attributes as SQS has them: by name, with `DataType` and `StringValue` or `BinaryValue`."""

DEFAULT_VISIBILITY = 30
DEFAULT_MAX_RECEIVE_COUNT = 5

MAX_BATCH_SIZE = 10
"""Maximum number of messages that one call receives, deletes, sends, or changes the visibility of."""


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A received message, hidden from other consumers until its visibility timeout ends."""

    message_id: str
    receipt_handle: str
    body: str
    raw_attributes: RawAttributes
    receive_count: int
    """Number of deliveries, including this one (SQS: ApproximateReceiveCount)."""
    leased_at: float
    """Time of the event loop when the receive call returned; a long poll receives at its end."""
    group: str | None = None
    """Message group. On a FIFO queue its messages are ordered, on a standard queue they are not."""
    trace_header: str | None = None
    """Trace header of AWS X-Ray (system attribute `AWSTraceHeader`)."""
    sent_at: datetime | None = None
    """Time of sending. A message that SQS moved to a standard dead-letter queue keeps its first one."""
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def attributes(self) -> dict[str, str]:
        """Message attributes of type String, by name."""
        return {
            name: value["StringValue"]
            for name, value in self.raw_attributes.items()
            if "StringValue" in value
        }


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """Failed entries of a batch call, by receipt handle. An entry in neither set succeeded."""

    gone: frozenset[str] = frozenset()
    """Receipt handles that are no longer valid: deleted, or delivered to another consumer."""
    failed: frozenset[str] = frozenset()
    """Receipt handles to try again."""


class Queue(Protocol):
    """One queue. Its calls raise `aws.transient_errors()` when it is unreachable or refuses."""

    @property
    def name(self) -> str: ...

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        """Receive up to `limit` messages: immediately if there are any, or none after `wait` seconds. Each is
        hidden from other consumers for `visibility` seconds."""
        ...

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        """Delete up to ten messages. A message that no longer exists counts as deleted."""
        ...

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        """Set the visibility timeout of up to ten messages, by receipt handle: 0 to 43,200 s from now."""
        ...

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        """Send one message and return its id. `deduplication` applies to FIFO queues only."""
        ...


@dataclass(frozen=True)
class ListenerQueues:
    """A listener's queue and its dead-letter queue, both existing."""

    queue: Queue
    dead_letters: Queue
    visibility: int = DEFAULT_VISIBILITY
    """Visibility timeout of the queue, in seconds."""
    max_receive_count: int = DEFAULT_MAX_RECEIVE_COUNT
    """Number of receives after which a message that failed is dead-lettered."""
    retention: int = DEFAULT_RETENTION
    """Seconds after which the queue deletes a message."""
    dead_letter_retention: int = DEFAULT_DEAD_LETTER_RETENTION
    """Seconds after which the dead-letter queue deletes a message."""

    @property
    def message_lifetime(self) -> int:
        """Seconds from the first to the last possible delivery of a message: in the queue, then in the
        dead-letter queue, and in the queue again once it is redriven."""
        return 2 * self.retention + self.dead_letter_retention


@runtime_checkable
class QueueValidator(Protocol):
    """Middleware with requirements of the queues of its listener."""

    def validate_queues(self, queues: ListenerQueues) -> None:
        """Raise an error, which ends the listener at its start, if the queues do not meet them."""
        ...


def validate_queues(middleware: Iterable[object], queues: ListenerQueues) -> None:
    """Let middleware that is a QueueValidator validate the queues."""
    for layer in middleware:
        if isinstance(layer, QueueValidator):
            layer.validate_queues(queues)


def is_fifo(name: str) -> bool:
    """Return whether a queue or topic is FIFO, by its name."""
    return name.endswith(".fifo")


def batched(items: Sequence[T], size: int = MAX_BATCH_SIZE) -> Iterator[Sequence[T]]:
    """Split items into batches of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
