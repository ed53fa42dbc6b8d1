"""Hop: one step of an event, and the station where it happened."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field
from snsqs import WireModel
from snsqs.inbox import MIN_RETENTION_DAYS, ReceivedMessage
from snsqs.outbox import LoggedEvent

from services.console.recovery.dead_letter import DeadLetter


class Hop(WireModel):
    """One step of an event. Members that do not apply are null.

    The times are those of different hosts, whose clocks may differ a little; no distance is negative.
    """

    id: str
    parent: str | None
    """Id of the hop that led to this one; null after a command."""
    station: str
    """Id in `/api/stations`; the service's name where it publishes."""
    name: str
    """`published`, `relayed`, `decided`, `received`, `handled`, `dead_letter`."""
    event_id: str
    type: str
    version: int | None
    at: datetime | None = None
    """Null for a step that has not happened yet."""
    ms_since_parent: float | None = None
    ms_since_previous: float | None = None
    ms_since_start: float | None = None
    outcome: str
    """`published`; `relayed`, `waiting`, `parked`; the decision; `received`,
    `not_received`; `handled`, `superseded`; `dead_letter`."""
    attempts: int | None = None
    error: str | None = None
    rule: str | None = None
    message_id: str | None = None
    receive_count: int | None = None
    handler: str | None = None
    duplicates: int | None = None
    """Duplicate deliveries that the inbox absorbed."""


class Events(WireModel):
    """Events and messages that a service recorded about an order."""

    published: list[LoggedEvent] = Field(default_factory=list)
    received: list[ReceivedMessage] = Field(default_factory=list)


@dataclass(frozen=True)
class OrderRecords:
    """Records of all services about an order's events."""

    written: Mapping[str, Events]
    """By service."""
    consumers: Mapping[str, Collection[str]]
    """Event types of the handlers, by queue."""
    letters: Mapping[str, Sequence[DeadLetter]]
    """Dead letters by source queue."""


def hops(records: OrderRecords) -> list[Hop]:
    """Return the hops of every event from its publisher to its consumers: those that happened by time, then
    those that have not happened yet."""
    received: dict[str, list[ReceivedMessage]] = defaultdict(list)
    for message in (message for events in records.written.values() for message in events.received):
        received[message.message_id].append(message)
    made: list[Hop] = []
    for service, events in records.written.items():
        for event in events.published:
            messages = received.pop(str(event.id), [])
            made += _of_event(service, event, _cause(event, events.received))
            made += (hop for message in messages for hop in _of_message(message, f"{event.id}/decided"))
            made += _missing(event, {message.consumer for message in messages}, records)
    for messages in received.values():  # of events that a service published which is away
        made += (hop for message in messages for hop in _of_message(message, None))
    decided = {hop.id for hop in made if hop.name == "decided"}
    made += (_of_letter(each, decided) for letters in records.letters.values() for each in letters)
    return _timed(made)


def _missing(event: LoggedEvent, received_by: Collection[str], records: OrderRecords) -> Iterator[Hop]:
    """Yield a hop for each consumer without a record of a forwarded event: it waits, or is handled."""
    if event.decision != "forwarded" or not _is_still_recorded(event):
        return
    for queue, types in records.consumers.items():
        died = any(letter.event_id == str(event.id) for letter in records.letters.get(queue, ()))
        if event.type in types and queue not in received_by and not died:
            yield Hop(
                id=f"{event.id}/received/{queue}",
                parent=f"{event.id}/decided",
                station=f"queue:{queue}",
                name="received",
                outcome="not_received",
                **_about(event),
            )


def _is_still_recorded(event: LoggedEvent) -> bool:
    """Return True while the consumers keep their records of the event."""
    kept = timedelta(days=MIN_RETENTION_DAYS)
    return event.decided_at is not None and datetime.now(UTC) - event.decided_at < kept


def _cause(event: LoggedEvent, received: Sequence[ReceivedMessage]) -> str | None:
    """Return the hop where the service received the message that caused the event. If two of its queues
    delivered that message, it is the one whose handler had not ended."""
    taken = [
        each for each in received if each.message_id == event.cause and each.handled_at >= event.occurred_at
    ]
    return _begun(taken[0]) if taken else None


def _of_event(service: str, event: LoggedEvent, cause: str | None) -> Iterator[Hop]:
    about, first = _about(event), str(event.id)
    yield Hop(
        id=first,
        parent=cause,
        station=service,
        name="published",
        at=event.occurred_at,
        outcome="published",
        **about,
    )
    relay = Hop(
        id=f"{first}/relayed",
        parent=first,
        station=f"relay:{service}",
        name="relayed",
        at=event.relayed_at or event.parked_at,
        outcome="relayed" if event.decision else "parked" if event.parked_at else "waiting",
        attempts=event.attempts,
        error=event.last_error,
        **about,
    )
    yield relay
    if event.decision:
        yield Hop(
            id=f"{first}/decided",
            parent=relay.id,
            station="adapter",
            name="decided",
            at=event.decided_at,
            outcome=event.decision,
            rule=event.rule,
            message_id=event.message_id,
            **about,
        )


def _of_message(message: ReceivedMessage, parent: str | None) -> Iterator[Hop]:
    about: dict[str, Any] = {
        "event_id": message.message_id,
        "type": message.type,
        "version": message.version,
    }
    yield Hop(
        id=_begun(message),
        parent=parent,
        station=f"queue:{message.consumer}",
        name="received",
        at=message.received_at,
        outcome="received",
        receive_count=message.receive_count,
        **about,
    )
    yield Hop(
        id=f"{message.message_id}/handled/{message.consumer}",
        parent=_begun(message),
        station=f"listener:{message.consumer}",
        name="handled",
        at=message.handled_at,
        outcome=message.outcome,
        handler=message.handler or None,
        duplicates=message.duplicates,
        **about,
    )


def _of_letter(letter: DeadLetter, decided: Collection[str]) -> Hop:
    parent = f"{letter.event_id}/decided"
    return Hop(
        id=f"{letter.event_id}/dead_letter/{letter.queue}",
        parent=parent if parent in decided else None,
        station=f"queue:{letter.queue}",
        name="dead_letter",
        event_id=letter.event_id or "",
        type=letter.type or "",
        version=letter.version,
        at=letter.sent_at,
        outcome="dead_letter",
        error=letter.reason,
        receive_count=letter.receive_count,
    )


def _about(event: LoggedEvent) -> dict[str, Any]:
    return {"event_id": str(event.id), "type": event.type, "version": event.version}


def _begun(message: ReceivedMessage) -> str:
    """Return the id of the hop where a service received the message."""
    return f"{message.message_id}/received/{message.consumer}"


def _timed(hops: Sequence[Hop]) -> list[Hop]:
    """Return the hops by time, with the durations between them."""
    happened = sorted((hop for hop in hops if hop.at), key=lambda hop: hop.at or datetime.max)
    at = {hop.id: hop.at for hop in happened}
    previous = [None, *(hop.at for hop in happened)]
    start = happened[0].at if happened else None
    timed = [
        hop.model_copy(
            update={
                "ms_since_parent": distance(at.get(hop.parent or ""), hop.at),
                "ms_since_previous": distance(before, hop.at),
                "ms_since_start": distance(start, hop.at),
            }
        )
        for hop, before in zip(happened, previous, strict=False)
    ]
    return [*timed, *(hop for hop in hops if not hop.at)]


def distance(since: datetime | None, at: datetime | None) -> float | None:
    """Return milliseconds; never negative."""
    if since is None or at is None:
        return None
    return round(max(0.0, (at - since).total_seconds() * 1000), 1)
