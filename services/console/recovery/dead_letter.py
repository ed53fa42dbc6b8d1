"""DeadLetter: a message of a dead-letter queue, and the reason of its failure."""

import json
from datetime import datetime
from typing import Any

from snsqs import JsonConverter, Message, UndecodableMessage, WireModel
from snsqs.headers import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON
from snsqs.queues import Received

from shared.operations.selection import Filter

_converter = JsonConverter()


class DeadLetter(WireModel):
    """One message of a dead-letter queue.

    A listener records why a message failed. If SQS moved it by itself, because its consumer was killed each
    time, `reason`, `error` and `receiveCount` are null.
    """

    id: str
    """Message id in the dead-letter queue."""
    queue: str
    event_id: str | None
    type: str | None
    order_id: str | None
    version: int | None
    reason: str | None
    """Class and message of the error."""
    error: str | None
    """The error's class."""
    receive_count: int | None
    """Number of deliveries before it failed."""
    sent_at: datetime
    """Arrival in the dead-letter queue; if SQS moved it by itself, when it was first sent."""
    looks: int
    """Receive count in the dead-letter queue; browsing is a receive."""
    attributes: dict[str, str]
    body: str

    def fits(self, wanted: Filter) -> bool:
        """Return True when it matches a filter, whose `ids` may be those of letters or of events."""
        return (
            (wanted.ids is None or bool(wanted.ids & {self.id, self.event_id}))
            and wanted.type in (None, self.type)
            and wanted.order_id in (None, self.order_id)
            and (wanted.error is None or wanted.error.casefold() in (self.reason or "").casefold())
        )


def dead_letter(received: Received, queue: str) -> DeadLetter:
    """Decode a message as far as possible: that it is malformed may be why it failed."""
    try:
        message = _converter.to_message(received.body, received.attributes)
    except UndecodableMessage:
        message = Message(received.body, received.attributes)
    details = _details(received)
    count = details.get("receiveCount")
    return DeadLetter(
        id=received.message_id,
        queue=queue,
        event_id=message.id or None,
        type=message.type or None,
        order_id=message.subject or None,
        version=message.sequence,
        reason=received.attributes.get(DEAD_LETTER_REASON),
        error=str(details["error"]) if "error" in details else None,
        receive_count=count if isinstance(count, int) else None,
        sent_at=received.sent_at or received.received_at,
        looks=received.receive_count,
        attributes=received.attributes,
        body=received.body,
    )


def original_id(received: Received) -> str:
    """Return the id that the message had in its queue. SQS keeps it when it moves a message by itself."""
    original = _details(received).get("messageId")
    return original if isinstance(original, str) else received.message_id


def _details(received: Received) -> dict[str, Any]:
    try:
        details = json.loads(received.attributes.get(DEAD_LETTER_DETAILS, "{}"))
    except (ValueError, RecursionError):
        return {}
    return details if isinstance(details, dict) else {}
