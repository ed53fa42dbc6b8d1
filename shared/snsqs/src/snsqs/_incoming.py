"""Incoming: a received message, read as far as it can be, with its lease and the handler that takes it."""

from collections.abc import Hashable
from dataclasses import dataclass

from snsqs._converter import MessageConverter
from snsqs._errors import MessagingError, UndecodableMessage, UnknownType
from snsqs._handler import Binding, HandlerMethod
from snsqs._lease import Lease
from snsqs._message import Message
from snsqs._queue import MAX_BATCH_SIZE, Received
from snsqs.headers import ID

_converter = MessageConverter()


@dataclass(frozen=True, eq=False)
class Incoming:
    """`error` says why no handler can be given this message; `handler` is None then."""

    lease: Lease
    message: Message[str]
    handler: HandlerMethod | None
    error: MessagingError | None = None

    @property
    def received(self) -> Received:
        return self.lease.received

    @property
    def lane(self) -> Hashable:
        """What it waits in line with: its group, the messages of its batch handler, or nothing."""
        if self.received.group is not None:
            return self.received.group
        if self.handler is not None and self.handler.takes_batches:
            return self.handler
        return self

    @property
    def together(self) -> int:
        """How many messages its handler takes at once, at most."""
        return MAX_BATCH_SIZE if self.handler is not None and self.handler.takes_batches else 1


def read(lease: Lease, binding: Binding) -> Incoming:
    """Finds message and handler; whatever is wrong with them is told in `error`."""
    received = lease.received
    try:
        message = _converter.to_message(received.body, received.attributes)
    except UndecodableMessage as error:
        return Incoming(lease, Message(received.body, received.attributes), None, error)
    if not message.id:
        message = message.copy(headers={ID: received.message_id})
    try:
        return Incoming(lease, message, binding.handler_of(message))
    except UnknownType as error:
        return Incoming(lease, message, None, error)
