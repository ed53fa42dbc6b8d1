"""BatchFailures: the messages of a batch that its handler could not handle."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType


class BatchFailures:
    """Parameter of a batch handler, to report that some of its events failed.

        async def on_orders(events: list[OrderCompleted], failures: BatchFailures) -> None:
            for event in events:
                try:
                    await handle(event)
                except Exception as error:
                    failures.add(event, error)

    The messages of these events fail with their errors, the others are acknowledged. An error that the
    handler raises is one of the whole batch: its messages are handled again one by one.

    A failure is reported instead of raised because the transaction of a middleware commits then. So the
    handler undoes the effects of a failed event itself, for example with a savepoint.
    """

    def __init__(self) -> None:
        self._events: list[tuple[object, str]] = []
        self._errors: dict[str, BaseException] = {}

    @property
    def errors(self) -> Mapping[str, BaseException]:
        """Errors by the ids of their messages."""
        return MappingProxyType(self._errors)

    def add(self, event: object, error: BaseException) -> None:
        """Report that an event of the batch failed. Raises ValueError if it is no event of this batch; a copy
        is none. Raises TypeError for an error that is no exception.

        `TerminalError` moves the message to the dead-letter queue, `RetryAfter` sets its next receive, and
        any other error, `Unavailable` included, is retried with the listener's backoff.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"BatchFailures: {error!r} is no exception; pass the error of the event")
        for known, message_id in self._events:
            if known is event:
                self._errors[message_id] = error
                return
        raise ValueError(f"BatchFailures: {event!r} is not an event of this batch; pass one of its objects")

    def expect(self, events: Iterable[object], message_ids: Iterable[str]) -> None:
        """Set the events of a new call of the handler, and forget the failures of an earlier one."""
        self._events = list(zip(events, message_ids, strict=True))
        self._errors.clear()
