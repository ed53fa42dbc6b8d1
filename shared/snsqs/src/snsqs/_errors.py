"""Every error of the messaging package. Whether trying again can help is in the type."""


class MessagingError(Exception):
    """The root of what this package raises."""


class TerminalError(MessagingError):
    """Trying again cannot help. Raised by a handler (or a subclass by the library), it sends the message
    to the dead-letter queue at once, with this error as the reason."""


class UndecodableMessage(TerminalError):
    """The body or the attributes do not make a message: not JSON, no type, or fields that do not fit."""


class UnknownType(TerminalError):
    """No handler on this queue takes the message's type. Add one, or correct the subscription's filter."""


class MessageTooLarge(TerminalError):
    """A single message is over the limit of the transport. Carry a reference instead of the content."""


class SendFailed(MessagingError):
    """The transport did not take the message. Nothing was sent; sending it again is safe."""


class PublishRejected(MessagingError):
    """The transport rejected a whole batch for the content of one of its messages, without naming it. The
    transport itself is available; sending each message again on its own finds the invalid one."""


class Unavailable(MessagingError):
    """Something that the handler needs is away just now: the database, another service. Raised by a
    handler or middleware; the message is kept and tried again, and no receive is counted against it."""


class LeaseLost(MessagingError):
    """The queue may hand this message to another consumer: handling was cancelled before its commit."""


class ListenerMisconfigured(MessagingError):
    """A handler, its annotations or its queue do not fit together. Raised at start, never at a message."""


class TopologyError(MessagingError):
    """A queue, topic or subscription that the handlers need is missing. The message names it."""
