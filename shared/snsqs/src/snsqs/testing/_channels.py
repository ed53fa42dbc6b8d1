"""MessageChannels in memory: a topic, and a queue that is sent to directly."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from snsqs._batching import message_attributes
from snsqs._channel import MessageChannel
from snsqs._errors import MessagingError, SendFailed, TerminalError
from snsqs._message import Message
from snsqs._trace_header import aws_trace_header
from snsqs._validation import Destination, deduplication_of
from snsqs.headers import TRACEPARENT
from snsqs.testing._faults import Faults
from snsqs.testing._queue import MemoryQueue


@dataclass(eq=False)
class MemoryTopic(MessageChannel):
    """A topic as a MessageChannel: copies a message to every queue whose filter policy has its type."""

    name: str
    faults: Faults
    subscriptions: dict[str, tuple[MemoryQueue, list[str]]] = field(default_factory=dict)
    messages: list[Message[str]] = field(default_factory=list)
    """All messages that the topic accepted, also those that no queue takes."""
    _ids: Iterator[int] = field(init=False, default_factory=itertools.count)
    _destination: Destination = field(init=False)

    def __post_init__(self) -> None:
        self._destination = Destination(self.name, is_topic=True)

    def limit(self, max_bytes: int) -> None:
        """Limit the size of messages. Raises ChannelMisconfigured."""
        self._destination = Destination(self.name, is_topic=True, max_bytes=max_bytes)

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return [self._publish(message) for message in messages]

    def _publish(self, message: Message[str]) -> str | MessagingError:
        if (error := _refusal(message, self._destination, self.faults)) is not None:
            return error
        self.messages.append(message)
        message_id = f"{self.name}-{next(self._ids)}"
        for queue, types in self.subscriptions.values():
            if message.type in types:
                _put(queue, message_id, message, self._destination)
        return message_id


class MemoryQueueChannel(MessageChannel):
    """A queue as a MessageChannel, as SqsChannel is: with delay, and without a filter policy."""

    def __init__(self, queue: MemoryQueue, max_bytes: int, *, aws_trace_header: bool = False) -> None:
        self._queue = queue
        self._destination = Destination(
            queue.name, is_topic=False, max_bytes=max_bytes, has_trace_header=aws_trace_header
        )

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return [self._send(message) for message in messages]

    def _send(self, message: Message[str]) -> str | MessagingError:
        if (error := _refusal(message, self._destination, self._queue.faults)) is not None:
            return error
        if self._queue.faults.occurs(self._queue.faults.fail_call):
            return SendFailed(f"{self._queue.name}: refused by a fault")
        message_id = self._queue.next_id()
        _put(self._queue, message_id, message, self._destination)
        return message_id


def _refusal(message: Message[str], destination: Destination, faults: Faults) -> MessagingError | None:
    try:
        destination.validate(message)
    except TerminalError as error:
        return error
    return SendFailed("dropped by a fault") if faults.occurs(faults.drop_entry) else None


def _put(queue: MemoryQueue, message_id: str, message: Message[str], destination: Destination) -> None:
    traceparent = message.headers.get(TRACEPARENT)
    queue.put(
        message_id,
        message.payload,
        message_attributes(message),
        destination.group_of(message),
        deduplication_of(message),
        message.delay or 0,
        aws_trace_header(traceparent) if destination.has_trace_header and traceparent else None,
    )
