"""Events, messages and dead letters for the tests of listeners."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from snsqs import Aggregate, DomainEvent, HandlerFunction, Message, sqs_listener
from snsqs.headers import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON, ID, SEQUENCE, SUBJECT, TYPE
from snsqs.queues import RawAttributes

QUEUE = "test-queue"
TOPIC = "test-topic"

Handler = HandlerFunction


class Painted(DomainEvent):
    """An event for tests."""

    source: Aggregate


class Sold(DomainEvent):
    """Another event for tests."""

    source: Aggregate


def message(
    event_type: str = "Painted", subject: str = "1", version: int = 1, **headers: str
) -> Message[str]:
    payload = json.dumps({"source": {"id": subject, "version": version}, "occurenceOn": 1520393282506})
    about = {ID: str(uuid.uuid4()), TYPE: event_type, SUBJECT: subject, SEQUENCE: str(version)}
    return Message(payload, about | headers)


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead-letter queue."""

    body: str
    attributes: dict[str, str]
    raw_attributes: RawAttributes

    @property
    def reason(self) -> str:
        return self.attributes[DEAD_LETTER_REASON]

    @property
    def details(self) -> dict[str, Any]:
        details: dict[str, Any] = json.loads(self.attributes[DEAD_LETTER_DETAILS])
        return details


listener = sqs_listener(QUEUE, topic=TOPIC)
fifo = sqs_listener(f"{QUEUE}.fifo", topic=f"{TOPIC}.fifo")


class Recorder:
    """Handlers of two event types on one queue, which record the ids of their events."""

    def __init__(self) -> None:
        self.painted: list[str] = []
        self.sold: list[str] = []

        @listener
        async def on_painted(event: Painted) -> None:
            self.painted.append(event.source.id)

        @listener
        async def on_sold(event: Sold) -> None:
            self.sold.append(event.source.id)

        self.handlers = (on_painted, on_sold)
