"""Errors of the library. The type tells whether retrying can help."""


class MessagingError(Exception):
    """Root of the library's errors."""


class TerminalError(MessagingError):
    """Retrying cannot help. A handler raises it, or a subclass of its own, to send the message to the
    dead-letter queue at once, with this error as the reason."""


class UndecodableMessage(TerminalError):
    """Body or attributes are not a message: not JSON, no type, or fields that do not fit the event class."""


class UnknownType(TerminalError):
    """No handler on this queue handles the message's type. Add one, or correct the subscription's filter."""


class MessageTooLarge(TerminalError):
    """A message exceeds the limit of the transport. Send a reference instead of the content."""


class SendFailed(MessagingError):
    """The transport did not accept the message. Nothing was sent; sending it again is safe."""


class PublishRejected(MessagingError):
    """The transport rejected a whole batch for the content of one of its messages, without naming it. The
    transport itself is available; sending each message again on its own finds the invalid one."""


class Unavailable(MessagingError):
    """A dependency of the handler, such as the database or another service, is unavailable. Raised by a
    handler or middleware; the message is kept and tried again, and no receive is counted against it."""


class LeaseLost(MessagingError):
    """The queue may deliver the message to another consumer: its handler was cancelled before its commit."""


class ListenerMisconfigured(MessagingError):
    """A handler, its annotations or its queue do not fit together. Raised at start, never for a message."""


class TopologyError(MessagingError):
    """A queue, topic or subscription that the handlers need is missing. The message names it."""
