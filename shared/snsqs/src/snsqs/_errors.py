"""Errors of the library. The type tells whether retrying can help."""

import math
from collections.abc import Sequence

MAX_VISIBILITY = 43_200
"""Seconds, 12 h: limit of SQS for a visibility timeout, and from a receive to the end of its lease."""


class MessagingError(Exception):
    """Root of the library's errors."""


class TerminalError(MessagingError):
    """Retrying cannot help. A handler raises it, or a subclass of its own, to send the message to the
    dead-letter queue at once, with this error as the reason."""


class UndecodableMessage(TerminalError):
    """Body or attributes are not a message: not JSON, no type, or fields that do not fit the event class."""


class UnknownType(TerminalError):
    """No handler on this queue handles the message's type. Add one, or correct the subscription's filter."""


class InvalidEvent(TerminalError, ValueError):
    """A type is not an event or is declared wrongly, or an event has no valid id, version or time."""


class MessageTooLarge(TerminalError):
    """A message exceeds the limit of the transport. Send a reference instead of the content."""


class InvalidMessage(TerminalError):
    """A channel refuses the message for its content or delivery options: a character or header name that AWS
    rejects, or a delay, group or deduplication id that does not fit the topic or queue."""


class SendFailed(MessagingError):
    """The transport did not accept the message. Nothing was sent; sending it again is safe."""


class BatchSendFailed(SendFailed):
    """Raised by `MessageChannel.send`: at least one of its messages was not accepted. The others were sent.

    `results` has the id or the error of each message, in the order of the messages. To send again only those
    that may succeed later, use `MessageChannel.try_send`, which returns the results.
    """

    def __init__(self, results: Sequence[str | MessagingError]) -> None:
        super().__init__(results)
        self.results = list(results)

    def __str__(self) -> str:
        errors = [result for result in self.results if isinstance(result, MessagingError)]
        first = f"{type(errors[0]).__name__}: {errors[0]}" if errors else "no error"
        return f"{len(errors)} of {len(self.results)} messages not sent; the first: {first}"


class Unavailable(MessagingError):
    """A dependency of the handler, such as the database or another service, is unavailable. Raised by a
    handler or middleware; the message is kept and tried again, and no receive is counted against it."""


class RetryAfter(MessagingError):
    """The message is to be received again after `seconds`, instead of the time that the listener's backoff
    gives. A handler raises it, for example with the `Retry-After` of an HTTP response.

    The receive counts as that of any other failure: at the last permitted one the message moves to the
    dead-letter queue. In a FIFO group the messages behind it wait, too. Raised for a batch, it applies to all
    of its messages.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        """
        Args:
            seconds: 0 to 43,200 (12 h), rounded up to whole seconds. SQS counts the 12 h from the receive,
                so the time that the handler took is subtracted from a longer wait. Raises ValueError.
            reason: why, for log, outcome and dead letter.
        """
        if not 0 <= seconds <= MAX_VISIBILITY:
            raise ValueError(f"RetryAfter: seconds is {seconds!r}; set 0 to {MAX_VISIBILITY} (12 h)")
        self.seconds = math.ceil(seconds)
        super().__init__(f"retry after {self.seconds} s" + (f": {reason}" if reason else ""))


class HandlerFailed(MessagingError):
    """A handler or middleware raised what cannot be passed on as it is: no Exception (SystemExit, a panic of
    a Rust extension), or an exception whose attributes cannot be set. The original is `__cause__`; the
    message is retried like after any other error."""


class HandlerTimedOut(MessagingError):
    """A handler took longer than `ListenerOptions.handler_timeout`. It was cancelled, and its message is
    retried like after any other error."""


class LeaseLost(MessagingError):
    """The queue may deliver the message to another consumer: its handler was cancelled before its commit."""


class ListenerMisconfigured(MessagingError, ValueError):
    """A handler, its annotations, its queue or its options do not fit together. Raised at start, never for a
    message."""


class ChannelMisconfigured(MessagingError, ValueError):
    """A setting of a channel is invalid. Raised by its constructor; names setting, value and remedy."""


class TopologyError(MessagingError):
    """A queue, topic or subscription that the handlers need is missing. The message names it."""


def error_text(error: BaseException) -> str:
    """Return `str(error)`, or a remark for an error whose `__str__` raises."""
    try:
        return str(error)
    except BaseException as failure:  # a panic, if it is implemented in Rust
        return f"<__str__ raised {type(failure).__name__}>"


def error_reason(error: BaseException) -> str:
    """Return class and message of an error; of the first error in an exception group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error_text(error)}"


def as_exception(error: BaseException) -> Exception:
    """Return an error that all middleware and context managers can pass on: the error itself, or else a
    TerminalError, Unavailable or HandlerFailed with its reason."""
    if isinstance(error, Exception) and not _is_frozen(error):
        return error
    for kind in (TerminalError, Unavailable):
        if isinstance(error, kind):
            return kind(error_reason(error))
    return HandlerFailed(error_reason(error))


def _is_frozen(error: Exception) -> bool:
    """Return whether attributes of an error cannot be set, as those of a frozen dataclass. contextlib sets
    `__traceback__`, and would raise another error."""
    try:
        error.__traceback__ = error.__traceback__
    except Exception:
        return True
    return False
