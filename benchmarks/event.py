"""The measured event: small, with the attributes of every event."""

import json

from snsqs import Aggregate, DomainEvent, Message
from snsqs.headers import ID, SEQUENCE, SUBJECT, TYPE

QUEUE, TOPIC = "bench-queue", "bench-topic"
REGION = "us-east-1"


class Measured(DomainEvent):
    """An empty event."""

    source: Aggregate


def message(number: int) -> Message[str]:
    payload = json.dumps({"source": {"id": str(number), "version": 1}, "occurenceOn": 1520393282506})
    return Message(payload, {ID: f"id-{number}", TYPE: "Measured", SUBJECT: str(number), SEQUENCE: "1"})
