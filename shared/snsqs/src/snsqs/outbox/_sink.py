"""EventSink: the destination of an outbox's events, and the one that publishes to a MessageChannel."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from snsqs._channel import MessageChannel
from snsqs._converter import JSON
from snsqs._errors import MessagingError, SendFailed
from snsqs._message import Message
from snsqs.cloudevents import EventResult
from snsqs.headers import CONTENT_TYPE, ID, SEQUENCE, SOURCE, SUBJECT, TIME, TRACEPARENT, TRACESTATE, TYPE


class SinkUnavailable(Exception):
    """The destination cannot take events at present. No event is the cause: all of them wait, and no attempt
    is counted."""


class BatchFailed(SinkUnavailable):
    """The destination failed on the batch, or was too slow. The cause may be the destination or one event:
    the relay backs off and retries with half the batch."""


class BatchRejected(Exception):
    """The destination rejected the batch. One of its events may be the cause: the relay retries at once with
    half the batch."""


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event that the relay has claimed."""

    position: int
    """Position in the event log."""
    id: uuid.UUID
    type: str
    subject: str
    """Id of the aggregate."""
    sequence: int
    """Version of the aggregate."""
    occurred_at: datetime
    traceparent: str | None
    tracestate: str | None
    data: str
    """The domain event as JSON."""
    attempts: int
    """Failed attempts to publish it."""


class EventSink(Protocol):
    """Destination of the events of an outbox: an adapter (`snsqs.outbox.http.HttpSink`), or a channel.

    A sink belongs to one relay, which makes one call at a time and cancels it after its `publish_timeout`.
    """

    async def publish(self, events: Sequence[OutboxEvent]) -> Sequence[EventResult]:
        """Return the decision on each event, in any order. An event without a result counts as failed.

        Events fail one by one. Raises SinkUnavailable, BatchFailed or BatchRejected when there is no result
        for the batch as a whole.
        """
        ...

    async def is_ready(self) -> bool:
        """Return whether the destination can take events at present. Asked after events have failed: if it
        is not ready, no attempt is counted."""
        ...


class ChannelSink:
    """Publishes to a MessageChannel, such as an SnsChannel. Every event is forwarded.

    When the channel takes none of the messages of a batch, for another reason than the messages themselves
    (`SendFailed`), the sink is not ready until it takes one.
    """

    def __init__(self, channel: MessageChannel, *, source: str) -> None:
        """
        Args:
            source: name of this service, the header `ce-source` of every message.
        """
        self._channel = channel
        self._source = source
        self._is_ready = True

    def __str__(self) -> str:
        return type(self._channel).__name__

    async def publish(self, events: Sequence[OutboxEvent]) -> list[EventResult]:
        outcomes = await self._channel.try_send([self._message(event) for event in events])
        self._is_ready = any(not isinstance(outcome, SendFailed) for outcome in outcomes)
        return [_result(event, outcome) for event, outcome in zip(events, outcomes, strict=True)]

    async def is_ready(self) -> bool:
        return self._is_ready

    def _message(self, event: OutboxEvent) -> Message[str]:
        headers = {
            ID: str(event.id),
            TYPE: event.type,
            SOURCE: self._source,
            TIME: event.occurred_at.isoformat(),
            SUBJECT: event.subject,
            SEQUENCE: str(event.sequence),
            CONTENT_TYPE: JSON,
        }
        if event.traceparent:
            headers[TRACEPARENT] = event.traceparent
            if event.tracestate:
                headers[TRACESTATE] = event.tracestate
        return Message(event.data, headers)


def _result(event: OutboxEvent, outcome: str | MessagingError) -> EventResult:
    if isinstance(outcome, MessagingError):
        return EventResult(id=str(event.id), decision="failed", error=str(outcome))
    return EventResult(id=str(event.id), decision="forwarded", message_id=outcome)
